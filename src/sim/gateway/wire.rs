//! Server-side WebSocket frames as bytes (RFC 6455, section 5.2), so that faults can break them
//! where a library would not. It knows no connection.

use bytes::{BufMut, BytesMut};

const FIN: u8 = 0x80;

/// Opcode of a WebSocket frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::sim) enum Opcode {
    /// Continuation of a fragmented message.
    Continuation = 0x0,
    /// Text.
    Text = 0x1,
    /// Binary.
    Binary = 0x2,
    /// Close.
    Close = 0x8,
    /// Pong.
    Pong = 0xA,
}

/// Appends one whole frame, unmasked as a server sends it.
pub(in crate::sim) fn put_frame(out: &mut BytesMut, opcode: Opcode, payload: &[u8]) {
    put_header(out, FIN | opcode as u8, payload.len());
    out.put_slice(payload);
}

/// Appends `text` as one message in `parts` fragments.
pub(in crate::sim) fn put_fragmented(out: &mut BytesMut, text: &str, parts: usize) {
    let size = text.len().div_ceil(parts.max(1)).max(1);
    let mut chunks = text.as_bytes().chunks(size).peekable();
    let mut opcode = Opcode::Text;
    while let Some(chunk) = chunks.next() {
        let fin = if chunks.peek().is_none() { FIN } else { 0 };
        put_header(out, fin | opcode as u8, chunk.len());
        out.put_slice(chunk);
        opcode = Opcode::Continuation;
    }
}

/// Appends a close frame; the reason is cut to what fits a control frame.
pub(in crate::sim) fn put_close(out: &mut BytesMut, code: u16, reason: &str) {
    let mut end = reason.len().min(120);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = BytesMut::with_capacity(2 + end);
    payload.put_u16(code);
    payload.put_slice(reason.as_bytes().get(..end).unwrap_or_default());
    put_frame(out, Opcode::Close, &payload);
}

fn put_header(out: &mut BytesMut, first: u8, len: usize) {
    out.reserve(len + 10);
    out.put_u8(first);
    match len {
        0..=125 => out.put_u8(u8::try_from(len).unwrap_or(125)),
        126..=0xFFFF => {
            out.put_u8(126);
            out.put_u16(u16::try_from(len).unwrap_or(u16::MAX));
        }
        _ => {
            out.put_u8(127);
            out.put_u64(len as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_length_takes_its_own_header_form() {
        for (len, header) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let mut out = BytesMut::new();
            put_frame(&mut out, Opcode::Text, &vec![b'x'; len]);
            assert_eq!(out.len(), len + header, "payload of {len}");
            assert_eq!(out[0], 0x81);
        }
    }

    #[test]
    fn only_the_last_fragment_is_final() {
        let mut out = BytesMut::new();
        put_fragmented(&mut out, "abcdef", 3);
        assert_eq!(&out[..], b"\x01\x02ab\x00\x02cd\x80\x02ef");
    }
}
