//! A far end for acknowledgements that belongs to no socket: whoever tries a frame without DingTalk
//! reads there what would be written.

use tokio::sync::mpsc;

use super::answer::Answer;
use super::delivery::AckTicket;
use super::frame::Frame;

/// Acknowledgements that wait to be read.
const WAITING: usize = 16;

/// The far end of tickets that belong to no socket.
#[derive(Debug)]
pub struct Aside {
    near: mpsc::Sender<Answer>,
    far: mpsc::Receiver<Answer>,
}

impl Default for Aside {
    fn default() -> Self {
        let (near, far) = mpsc::channel(WAITING);
        Self { near, far }
    }
}

impl Aside {
    /// The right to answer `frame`, here.
    pub fn ticket(&self, frame: &Frame) -> AckTicket {
        AckTicket::new(frame, self.near.clone(), None)
    }

    /// The oldest acknowledgement that was not read yet, as the text that a session would write.
    pub fn written(&mut self) -> Option<String> {
        let message = self.far.try_recv().ok()?.into_message();
        message.into_text().ok().map(|text| text.to_string())
    }
}
