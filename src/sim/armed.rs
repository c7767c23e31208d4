//! Faults that wait for something to hit: a call, an upgrade, a connection. They are used up one hit
//! at a time, the oldest that fits first.

use std::sync::Arc;
use std::time::Duration;

use super::fault::{Fault, OPEN_PATH};
use super::state::World;

/// Path of the upgrade request.
const UPGRADE_PATH: &str = "/connect";

/// What a fault does to one API call.
#[derive(Debug, Clone)]
pub(super) enum CallFault {
    Reject(u16, String),
    ApplyThenFail(u16),
    Hold,
    ApplyThenHold,
    CutCall,
    ApplyThenCut,
    Delay(Duration),
    Redirect(String),
    CutBody(u64),
    Lengthen(u64),
}

impl CallFault {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Reject(..) => "reject",
            Self::ApplyThenFail(_) => "apply_then_fail",
            Self::Hold => "hold",
            Self::ApplyThenHold => "apply_then_hold",
            Self::CutCall => "cut_call",
            Self::ApplyThenCut => "apply_then_cut",
            Self::Delay(_) => "delay",
            Self::Redirect(_) => "redirect",
            Self::CutBody(_) => "cut_body",
            Self::Lengthen(_) => "lengthen",
        }
    }
}

/// What a fault does to the next connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkFault {
    AcceptAndClose,
}

/// A fault that waits for something to hit.
#[derive(Debug)]
pub(super) struct ArmedFault {
    target: Target,
    times: Option<u32>,
}

#[derive(Debug)]
enum Target {
    Call(String, CallFault),
    /// The status that refuses an upgrade; none for an upgrade that is never answered.
    Upgrade(Option<u16>),
    Link(Arc<str>, LinkFault),
}

impl Fault {
    /// The fault as something to arm; `None` when it happens at once.
    pub(super) fn armed(&self) -> Option<ArmedFault> {
        let (path, fault, times) = match self {
            Self::Reject {
                path,
                status,
                times,
                ..
            } if path == UPGRADE_PATH => {
                return Some(ArmedFault {
                    target: Target::Upgrade(Some(*status)),
                    times: *times,
                });
            }
            Self::Hold { path, times } if path == UPGRADE_PATH => {
                return Some(ArmedFault {
                    target: Target::Upgrade(None),
                    times: *times,
                });
            }
            Self::AcceptAndClose { app, times } => {
                return Some(ArmedFault {
                    target: Target::Link(Arc::from(app.as_str()), LinkFault::AcceptAndClose),
                    times: *times,
                });
            }
            Self::RefuseOpen { how, times } => {
                let (status, body) = how.answer();
                let fault = CallFault::Reject(status, body.to_owned());
                (OPEN_PATH, fault, times)
            }
            Self::Refuse { path, how, times } => {
                let (status, body) = how.answer();
                (path.as_str(), CallFault::Reject(status, body), times)
            }
            Self::Reject {
                path,
                status,
                body,
                times,
            } => (
                path.as_str(),
                CallFault::Reject(*status, body.clone()),
                times,
            ),
            Self::ApplyThenFail {
                path,
                status,
                times,
            } => (path.as_str(), CallFault::ApplyThenFail(*status), times),
            Self::Hold { path, times } => (path.as_str(), CallFault::Hold, times),
            Self::ApplyThenHold { path, times } => (path.as_str(), CallFault::ApplyThenHold, times),
            Self::CutCall { path, times } => (path.as_str(), CallFault::CutCall, times),
            Self::ApplyThenCut { path, times } => (path.as_str(), CallFault::ApplyThenCut, times),
            Self::Delay { path, ms, times } => (
                path.as_str(),
                CallFault::Delay(Duration::from_millis(*ms)),
                times,
            ),
            Self::Redirect { path, to, times } => {
                (path.as_str(), CallFault::Redirect(to.clone()), times)
            }
            Self::CutBody { path, after, times } => {
                (path.as_str(), CallFault::CutBody(*after), times)
            }
            Self::Lengthen { path, bytes, times } => {
                (path.as_str(), CallFault::Lengthen(*bytes), times)
            }
            _ => return None,
        };
        Some(ArmedFault {
            target: Target::Call(path.to_owned(), fault),
            times: *times,
        })
    }
}

impl World {
    /// The first armed fault that hits this path, used once.
    pub(super) fn take_call_fault(&mut self, path: &str) -> Option<CallFault> {
        self.take_fault(|target| match target {
            Target::Call(pattern, fault) if matches(pattern, path) => Some(fault.clone()),
            _ => None,
        })
    }

    pub(super) fn take_upgrade_refusal(&mut self) -> Option<u16> {
        self.take_fault(|target| match target {
            Target::Upgrade(status) => *status,
            _ => None,
        })
    }

    pub(super) fn take_upgrade_hold(&mut self) -> bool {
        self.take_fault(|target| matches!(target, Target::Upgrade(None)).then_some(()))
            .is_some()
    }

    pub(super) fn take_link_fault(&mut self, app: &str, wanted: LinkFault) -> bool {
        self.take_fault(|target| match target {
            Target::Link(for_app, fault) if **for_app == *app && *fault == wanted => Some(()),
            _ => None,
        })
        .is_some()
    }

    fn take_fault<T>(&mut self, pick: impl Fn(&Target) -> Option<T>) -> Option<T> {
        let (at, found) = self
            .faults
            .iter()
            .enumerate()
            .find_map(|(at, fault)| Some((at, pick(&fault.target)?)))?;
        let armed = self.faults.get_mut(at)?;
        let spent = match &mut armed.times {
            Some(times) => {
                *times = times.saturating_sub(1);
                *times == 0
            }
            None => false,
        };
        if spent {
            self.faults.remove(at);
        }
        Some(found)
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => pattern == path,
    }
}
