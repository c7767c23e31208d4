//! `media.url`: what a stored object is, or where a download code leads.
//!
//! The address behind a code is signed: whoever has it has the bytes, for a short time. It is the one
//! thing this verb is asked for, it is worth no more than the code that the caller already has, and
//! it goes into the reply alone: never into a log, an error or a stream.

use super::denial::Denial;
use super::desk::Desk;
use crate::message::{MediaAnswer, MediaQuestion};

impl Desk {
    /// Tells where media is.
    pub(super) async fn media_url(&self, question: MediaQuestion) -> Result<MediaAnswer, Denial> {
        match (question.object, question.download_code) {
            (Some(object), None) => self.object(object).await,
            (None, Some(code)) if !code.is_empty() => {
                let account = self.account(question.account)?;
                let address = self.api(&account)?.download_url(&code).await?;
                Ok(MediaAnswer {
                    url: Some(address.expose().to_owned()),
                    ..MediaAnswer::default()
                })
            }
            _ => Err(Denial::malformed(
                "give exactly one of `object` and `download_code`",
            )),
        }
    }

    async fn object(&self, key: String) -> Result<MediaAnswer, Denial> {
        let found = self.broker.media().find(&key).await?.ok_or_else(|| {
            Denial::new(404, "object", format!("no object is stored under `{key}`"))
                .cure("it was not fetched yet, or its time is over: see <prefix>.status.<account>")
        })?;
        Ok(MediaAnswer {
            url: None,
            object: Some(found.key),
            name: found.description.name,
            mime: found.description.mime,
            size: Some(found.size),
            digest: Some(found.digest),
        })
    }
}
