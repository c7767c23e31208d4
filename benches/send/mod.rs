//! Request to DingTalk: the whole outbound path of the bridge beside a bare HTTP loop, to the same
//! simulated DingTalk with pacing off; then what large files, many cards and a takeover cost.

mod bare;
mod scene;
mod special;
mod texts;

use crate::support::Page;

/// Does the work of the bare loop, if the arguments name it.
pub(crate) async fn child(arguments: &[&str]) -> bool {
    let ["--http", api, count, at_once] = arguments else {
        return false;
    };
    bare::run(api, (count.parse().unwrap(), at_once.parse().unwrap())).await;
    true
}

/// Measures everything on the way out.
pub(crate) async fn measure(page: &mut Page) {
    texts::measure(page).await;
    special::measure(page).await;
}
