//! Carries a fault out: arms it for later calls, or does it to the connections now.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use serde_json::json;
use tokio::time::Instant;

use super::fault::Fault;
use super::gateway::{
    Aim, Envelope, LinkMode, Opcode, Out, Payload, Task, put_fragmented, put_frame, raw_text,
};
use super::state::{Shared, World};
use super::{Sim, SimError};

/// Reason of a disconnect frame, as captured (stream-protocol.md, section 2.1).
const DISCONNECT_REASON: &str = "persistent connection is timeout";

impl Sim {
    /// Makes something go wrong, now or at the next call that fits.
    ///
    /// # Errors
    /// When the app or the connection is not known, or has no connection to hit.
    pub async fn inject(&self, fault: Fault) -> Result<(), SimError> {
        self.shared.inject(fault).await
    }

    /// Disarms every fault of the API and lifts every mute; what happened to connections stays.
    pub fn clear_faults(&self) {
        self.shared.clear_faults();
    }
}

impl World {
    /// Until when the robot of an app, or a custom robot, is muted.
    fn mute_of(&mut self, name: &str) -> Result<&mut Option<Instant>, SimError> {
        let custom = self.custom_robots.get_mut(name);
        let app = self.apps.get_mut(name);
        app.map(|app| &mut app.muted_until)
            .or(custom.map(|robot| &mut robot.muted_until))
            .ok_or_else(|| SimError::NoSuchApp(name.to_owned()))
    }
}

impl Shared {
    pub(super) fn clear_faults(&self) {
        let mut world = self.world();
        world.faults.clear();
        world.unknown_users.clear();
        world.flow_controlled.clear();
        for app in world.apps.values_mut() {
            app.muted_until = None;
        }
        for robot in world.custom_robots.values_mut() {
            robot.muted_until = None;
        }
    }

    pub(super) async fn inject(&self, fault: Fault) -> Result<(), SimError> {
        if let Some(armed) = fault.armed() {
            self.world().faults.push(armed);
            return Ok(());
        }
        let done = match &fault {
            Fault::Cut { .. }
            | Fault::HalfOpen { .. }
            | Fault::SilentStall { .. }
            | Fault::Close { .. }
            | Fault::Disconnect { .. }
            | Fault::Garbage { .. }
            | Fault::Oversize { .. }
            | Fault::Fragmented { .. }
            | Fault::Binary { .. } => self.break_links(&fault).await,
            _ => self.change_app(&fault),
        };
        self.notify();
        done
    }

    /// Faults of an app or a user.
    fn change_app(&self, fault: &Fault) -> Result<(), SimError> {
        let mut world = self.world();
        match fault {
            Fault::FlowControlUser { user } => {
                world.flow_controlled.insert(user.clone());
            }
            Fault::UnknownUser { user } => {
                world.unknown_users.insert(user.clone());
            }
            Fault::ExpireWebhook { app } => {
                world.sessions.retain(|_, session| *session.app != **app);
            }
            Fault::ExpireDownloads { app } => world.media.expire_codes(app),
            Fault::ExpireToken { app } => {
                world.tokens.retain(|(owner, _), _| **owner != **app);
            }
            Fault::Mute { app, ms } => {
                let span = ms.map_or(self.options.mute_for, Duration::from_millis);
                *world.mute_of(app)? = Some(Instant::now() + span);
            }
            Fault::Unmute { app } => {
                *world.mute_of(app)? = None;
            }
            _ => {}
        }
        Ok(())
    }

    /// Faults of connections: the named one, or every one of the app that is not leaving.
    async fn break_links(&self, fault: &Fault) -> Result<(), SimError> {
        let (app, link) = match fault {
            Fault::Cut { app, link }
            | Fault::SilentStall { app, link }
            | Fault::Garbage { app, link }
            | Fault::Binary { app, link }
            | Fault::HalfOpen { app, link, .. }
            | Fault::Close { app, link, .. }
            | Fault::Disconnect { app, link, .. }
            | Fault::Oversize { app, link, .. }
            | Fault::Fragmented { app, link, .. } => (self.known(app)?, *link),
            _ => return Ok(()),
        };
        let ids: Vec<u64> = match link {
            Some(id) => vec![id],
            None => {
                let world = self.world();
                let ids = world.by_app.get(&app).map_or(&[][..], Vec::as_slice);
                let staying = ids.iter().copied().filter(|id| {
                    let link = world.links.get(id);
                    link.is_some_and(|link| link.mode != LinkMode::Leaving)
                });
                staying.collect()
            }
        };
        if ids.is_empty() {
            return Err(SimError::NoLink(app.as_ref().to_owned()));
        }
        for id in ids {
            self.break_link(fault, id).await?;
        }
        Ok(())
    }

    async fn break_link(&self, fault: &Fault, id: u64) -> Result<(), SimError> {
        let mut bytes = BytesMut::new();
        let order = match fault {
            Fault::Cut { .. } => {
                // The header promises more than comes.
                put_frame(
                    &mut bytes,
                    Opcode::Text,
                    b"{\"specVersion\":\"1.0\",\"type\":",
                );
                bytes.truncate(bytes.len() / 2);
                Some(Out::Reset(bytes.freeze()))
            }
            Fault::HalfOpen {
                noticed_after_ms, ..
            } => {
                let mut world = self.world();
                world.link(id)?.mode = LinkMode::HalfOpen;
                if let Some(ms) = noticed_after_ms {
                    world.plan_in(Duration::from_millis(*ms), Task::Noticed(id));
                    self.schedule.notify_one();
                }
                Some(Out::Freeze)
            }
            Fault::SilentStall { .. } => {
                self.world().link(id)?.mode = LinkMode::Stalled;
                None
            }
            Fault::Close { code, .. } => Some(Out::Close(*code)),
            Fault::Disconnect {
                without_message_id,
                reason,
                ..
            } => {
                let reason = reason.as_deref().unwrap_or(DISCONNECT_REASON);
                return self.disconnect(id, *without_message_id, reason).await;
            }
            Fault::Garbage { .. } => {
                put_frame(&mut bytes, Opcode::Text, "not json {\"\u{0}".as_bytes());
                Some(Out::Bytes(bytes.freeze()))
            }
            Fault::Oversize { bytes: size, .. } => {
                let text = json!({
                    "specVersion": "1.0",
                    "type": "CALLBACK",
                    "headers": {"topic": "/v1.0/oversize", "messageId": super::state::uuid()},
                    "data": "x".repeat(*size),
                });
                let app = self.app_of_link(id)?;
                raw_text(self, &app, Aim::Link(id), &text.to_string()).await?;
                None
            }
            Fault::Binary { .. } => {
                put_frame(&mut bytes, Opcode::Binary, &[0, 159, 146, 150]);
                Some(Out::Bytes(bytes.freeze()))
            }
            Fault::Fragmented { text, parts, .. } => {
                put_fragmented(&mut bytes, text, *parts);
                Some(Out::Bytes(bytes.freeze()))
            }
            _ => None,
        };
        match order {
            Some(order) => self.order(id, order).await,
            None => Ok(()),
        }
    }

    /// The disconnect frame, then silence, then the close (stream-protocol.md, section 2.1).
    async fn disconnect(&self, id: u64, bare: bool, reason: &str) -> Result<(), SimError> {
        let data = json!({ "reason": reason }).to_string();
        let app = self.app_of_link(id)?;
        self.world().link(id)?.mode = LinkMode::Leaving;
        if bare {
            let text = json!({
                "headers": {"topic": "disconnect", "contentType": "application/json"},
                "type": "SYSTEM",
                "data": data,
            })
            .to_string();
            raw_text(self, &app, Aim::Link(id), &text).await?;
        } else {
            let envelope = Envelope::new(app, "SYSTEM", "disconnect", &[], &data);
            let payload = Payload::Envelope(Arc::new(envelope));
            self.push(payload, 0, Aim::Link(id)).await?;
        }
        let mut world = self.world();
        world.plan_in(self.options.close_after_disconnect, Task::Close(id));
        self.schedule.notify_one();
        Ok(())
    }

    fn app_of_link(&self, id: u64) -> Result<Arc<str>, SimError> {
        Ok(Arc::clone(&self.world().link(id)?.app))
    }

    async fn order(&self, id: u64, order: Out) -> Result<(), SimError> {
        let queue = {
            let mut world = self.world();
            world.link(id)?.out.clone()
        };
        if matches!(order, Out::Reset(_) | Out::Close(_)) {
            self.end(id, order);
            return Ok(());
        }
        let _ = queue.send(order).await;
        Ok(())
    }
}
