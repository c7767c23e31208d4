//! Content in the forms that DingTalk takes. It sends nothing.

mod parts;
mod robot;
mod title;
mod webhook;

pub use robot::render_robot;
pub use webhook::render_webhook;

#[cfg(test)]
mod tests;
