//! A message as a record of the spool: version, time, subject, headers, body.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::broker::Outgoing;
use crate::message::Timestamp;

/// First byte of every record; another one is another layout.
const VERSION: u8 = 1;

/// A record read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// The message.
    pub(super) message: Outgoing,
    /// When it was spooled.
    pub(super) spooled_at: Timestamp,
}

/// Writes a record.
pub(super) fn encode(message: &Outgoing) -> Bytes {
    let headers: usize = message
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.len() + 8)
        .sum();
    let length = 17 + message.subject.len() + headers + message.payload.len();
    let mut record = BytesMut::with_capacity(length);
    record.put_u8(VERSION);
    record.put_i64(Timestamp::now().as_millis());
    put_text(&mut record, &message.subject);
    record.put_u32(u32::try_from(message.headers.len()).unwrap_or(u32::MAX));
    for (name, value) in &message.headers {
        put_text(&mut record, name);
        put_text(&mut record, value);
    }
    record.put_slice(&message.payload);
    record.freeze()
}

/// Reads a record; `None` when it is not one.
pub(super) fn decode(mut record: Bytes) -> Option<Record> {
    if record.try_get_u8().ok()? != VERSION {
        return None;
    }
    let spooled_at = Timestamp::from_millis(record.try_get_i64().ok()?);
    let subject = text(&mut record)?;
    let count = record.try_get_u32().ok()?;
    let mut headers = Vec::new();
    for _ in 0..count {
        headers.push((text(&mut record)?.into(), text(&mut record)?));
    }
    Some(Record {
        message: Outgoing {
            subject,
            headers,
            payload: record,
        },
        spooled_at,
    })
}

fn put_text(record: &mut BytesMut, text: &str) {
    record.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    record.put_slice(text.as_bytes());
}

fn text(record: &mut Bytes) -> Option<String> {
    let length = usize::try_from(record.try_get_u32().ok()?).ok()?;
    if record.remaining() < length {
        return None;
    }
    String::from_utf8(record.split_to(length).to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_message_comes_back_as_it_was(
            subject in ".*",
            headers in prop::collection::vec((any::<String>(), ".*"), 0..4),
            payload in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let headers = headers.into_iter().map(|(name, value)| (name.into(), value)).collect();
            let message = Outgoing { subject, headers, payload: payload.into() };
            prop_assert_eq!(decode(encode(&message)).unwrap().message, message);
        }

        #[test]
        fn garbage_is_no_record_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
            let _ = decode(bytes.into());
        }
    }
}
