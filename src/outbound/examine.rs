//! Whether a request would be taken, told without a broker.

use crate::broker::Headers;
use crate::message::{Content, OutboundAddress, Subjects};

use super::resolve::{self, Form};
use super::settings::Settings;

/// Reads a request as the pipeline does, as far as its own words go: what would be sent, or why it
/// would be refused.
///
/// # Errors
/// The words of the receipt.
pub fn examine(
    subjects: &Subjects,
    subject: &str,
    headers: &Headers,
    payload: &[u8],
) -> Result<Content, String> {
    let address = subjects
        .parse_outbound(subject)
        .map_err(|error| error.to_string())?;
    let form = match address {
        OutboundAddress::Canonical { .. } => Form::Canonical,
        OutboundAddress::Bare | OutboundAddress::Account(_) => Form::Bare,
    };
    let refused = |refusal: resolve::Refusal| refusal.detail;
    let request = resolve::read(headers, payload, 1, form).request;
    let request = request.map_err(refused)?;
    match form {
        Form::Canonical => Ok(resolve::check(&address, &request, &Settings::lenient())
            .map_err(refused)?
            .content),
        Form::Bare => {
            if let Some(target) = &request.to {
                target.check().map_err(|error| error.to_string())?;
            }
            request.content().map_err(|error| error.to_string())
        }
    }
}
