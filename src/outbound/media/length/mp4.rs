//! MP4: the length stands in the box `mvhd` inside `moov`, which may come after all the pictures.

use tokio::io::{AsyncRead, AsyncReadExt, copy, sink};

/// Length of a video in milliseconds, read as it streams by; nothing is held.
///
/// # Errors
/// When `video` fails.
pub(in crate::outbound::media) async fn video_millis(
    mut video: impl AsyncRead + Unpin + Send,
) -> std::io::Result<Option<u64>> {
    let found = mvhd(&mut video).await;
    match found {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        found => found,
    }
}

async fn mvhd(video: &mut (impl AsyncRead + Unpin + Send)) -> std::io::Result<Option<u64>> {
    loop {
        let mut size = u64::from(video.read_u32().await?);
        let mut kind = [0; 4];
        video.read_exact(&mut kind).await?;
        let mut head = 8;
        if size == 1 {
            size = video.read_u64().await?;
            head = 16;
        }
        match &kind {
            b"mvhd" => return length(video).await,
            // What is inside comes next.
            b"moov" => {}
            _ => {
                let Some(body) = size.checked_sub(head) else {
                    // To the end, or no mp4.
                    return Ok(None);
                };
                copy(&mut (&mut *video).take(body), &mut sink()).await?;
            }
        }
    }
}

async fn length(video: &mut (impl AsyncRead + Unpin + Send)) -> std::io::Result<Option<u64>> {
    let version = video.read_u32().await? >> 24;
    let (scale, duration) = if version == 1 {
        video.read_u128().await?;
        let scale = video.read_u32().await?;
        (scale, video.read_u64().await?)
    } else {
        video.read_u64().await?;
        let scale = video.read_u32().await?;
        let duration = video.read_u32().await?;
        // All ones stand for an unknown length.
        (
            scale,
            if duration == u32::MAX {
                u64::MAX
            } else {
                duration.into()
            },
        )
    };
    let known = Some(duration).filter(|duration| (1..u64::MAX).contains(duration));
    let millis = known.and_then(|duration| duration.checked_mul(1000));
    Ok(millis.and_then(|millis| millis.checked_div(scale.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(body.len() + 8).unwrap().to_be_bytes();
        [&size, &kind[..], body].concat()
    }

    fn moov(version: u8, scale: u32, duration: u64) -> Vec<u8> {
        let mut body = vec![version, 0, 0, 0];
        if version == 1 {
            body.extend([0; 16]);
            body.extend(scale.to_be_bytes());
            body.extend(duration.to_be_bytes());
        } else {
            body.extend([0; 8]);
            body.extend(scale.to_be_bytes());
            body.extend(u32::try_from(duration).unwrap().to_be_bytes());
        }
        body.extend([0; 80]);
        boxed(
            b"moov",
            &[boxed(b"free", b"x"), boxed(b"mvhd", &body)].concat(),
        )
    }

    async fn read(bytes: Vec<u8>) -> Option<u64> {
        video_millis(&bytes[..]).await.unwrap()
    }

    #[tokio::test]
    async fn the_length_is_found_before_and_after_the_pictures() {
        let start = boxed(b"ftyp", b"isom\0\0\x02\0");
        let pictures = boxed(b"mdat", &[7; 5000]);
        let front = [&start[..], &moov(0, 600, 7500), &pictures].concat();
        assert_eq!(read(front).await, Some(12_500));
        let end = [&start[..], &pictures, &moov(1, 1000, 61_000)].concat();
        assert_eq!(read(end).await, Some(61_000));
    }

    #[tokio::test]
    async fn large_boxes_have_a_long_size() {
        let mut bytes = [&[0, 0, 0, 1][..], b"mdat", &20_u64.to_be_bytes(), &[9; 4]].concat();
        bytes.extend(moov(0, 1, 3));
        assert_eq!(read(bytes).await, Some(3000));
    }

    #[tokio::test]
    async fn what_does_not_say_has_no_length() {
        for bytes in [
            Vec::new(),
            b"no mp4 at all, only text".to_vec(),
            boxed(b"mdat", b"abc"),
            moov(0, 0, 5),
            moov(0, 600, u64::from(u32::MAX)),
            vec![0; 64],
        ] {
            assert_eq!(read(bytes).await, None);
        }
    }
}
