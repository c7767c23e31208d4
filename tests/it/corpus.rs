//! The corpora of the fuzz targets, replayed through the same functions on every run: what fuzzing
//! found stays fixed where no fuzzer runs.

#[path = "../../fuzz/src/doors.rs"]
#[expect(unreachable_pub, reason = "the fuzz targets use them as a library")]
mod doors;

use std::path::Path;

/// Runs `door` with every seed of a target; there is at least one.
fn replay(target: &str, door: fn(&[u8])) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let mut count = 0;
    for seed in std::fs::read_dir(&seeds).unwrap() {
        let path = seed.unwrap().path();
        let input = std::fs::read(&path).unwrap();
        count += 1;
        if std::panic::catch_unwind(|| door(&input)).is_err() {
            panic!("{} is not borne; the panic above says why", path.display());
        }
    }
    assert!(count > 0, "no seeds in {}", seeds.display());
}

#[test]
fn seeds_of_frames_are_borne() {
    replay("frame", doors::frame);
}

#[test]
fn seeds_of_subjects_are_borne() {
    replay("subject", doors::subject);
}

#[test]
fn seeds_of_requests_are_borne() {
    replay("request", doors::request);
}

#[test]
fn seeds_of_answers_are_borne() {
    replay("answer", doors::answer);
}

#[test]
fn seeds_of_damaged_spools_are_borne() {
    replay("spool", doors::spool);
}

#[test]
fn seeds_of_texts_are_borne() {
    replay("markdown", doors::markdown);
}

#[test]
fn seeds_of_headers_and_acknowledgements_are_borne() {
    replay("wire", doors::wire);
}

#[test]
fn every_frame_of_the_collection_is_borne_cut_anywhere() {
    let frames = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frames");
    for entry in std::fs::read_dir(frames).unwrap() {
        let path = entry.unwrap().path();
        let Ok(text) = std::fs::read(&path) else {
            continue;
        };
        for end in (0..=text.len()).step_by(37).chain([text.len()]) {
            doors::frame(&text[..end]);
            let data = String::from_utf8_lossy(&text[..end]);
            for topic in [
                "/v1.0/im/bot/messages/get",
                "/v1.0/card/instances/callback",
                "x",
            ] {
                let frame = serde_json::json!({
                    "type": "CALLBACK", "headers": {"topic": topic, "messageId": "m1"}, "data": data,
                });
                doors::frame(frame.to_string().as_bytes());
            }
        }
    }
}
