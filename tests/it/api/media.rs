//! Uploads, download addresses, and what is fetched from them.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use nats_dingtalk::dingtalk::api::{Api, ApiError, ErrorClass, FetchError, Fetcher, Upload};
use nats_dingtalk::message::{Attachment, Content, MediaKind};
use nats_dingtalk::sim::{
    Attachment as Sent, Fault, LEGACY_TOKEN_PATH, MEDIA_DOWNLOAD_PATH, MEDIA_OBJECT_PATH,
    MEDIA_UPLOAD_PATH, Message, Sim, SimOptions, TOKEN_PATH, TokenFamilies,
};
use reqwest::Body;
use sha2::{Digest, Sha256};

use super::{billed, client, sent, user};
use crate::sim::{APP, Client, data, options, start};
use crate::support::sections;

const PIECE: usize = 64 * 1024;

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file of so many bytes, as a stream without a known end.
fn file(kind: MediaKind, name: &str, bytes: &[u8]) -> Upload {
    let pieces: Vec<_> = bytes
        .chunks(PIECE)
        .map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)))
        .collect();
    Upload {
        kind,
        name: name.to_owned(),
        size: bytes.len() as u64,
        body: Body::wrap_stream(stream::iter(pieces)),
    }
}

async fn upload(api: &Api, name: &str) -> Result<String, ApiError> {
    api.upload(file(MediaKind::File, name, b"PK\x03\x04")).await
}

/// The download code of a file that somebody sent to the robot.
async fn code_of(sim: &Sim, file: Sent) -> String {
    let mut robot = Client::connect(sim, APP).await;
    let message = Message::to_bot("u1", "").carrying(file);
    sim.say(APP, message).await.unwrap();
    let frame = robot.frame().await;
    robot.ok(&frame).await;
    let code = &data(&frame)["content"]["downloadCode"];
    code.as_str().unwrap().to_owned()
}

fn fetcher(sim: &Sim) -> Fetcher {
    Fetcher::new(&sections::dingtalk(sim, Duration::from_secs(2))).unwrap()
}

async fn whole(fetcher: &Fetcher, url: &str) -> Result<Vec<u8>, FetchError> {
    let mut fetched = fetcher.open(url).await?;
    let mut all = Vec::new();
    while let Some(piece) = fetched.chunk().await? {
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

#[tokio::test]
async fn an_upload_arrives_whole_and_its_id_can_be_sent() {
    let sim = start(options()).await;
    let (api, metrics) = client(&sim);
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let id = api
        .upload(file(MediaKind::File, "报表 1\".PDF", &bytes))
        .await
        .unwrap();
    let seen = sim.upload(&id).unwrap();
    assert_eq!((seen.app.as_str(), seen.kind.as_str()), (APP, "file"));
    assert_eq!(seen.file_name, "报表 1_.pdf");
    assert_eq!(seen.content_type, "application/pdf");
    assert_eq!((seen.size, seen.sha256), (3_000_000, sha256(&bytes)));
    let kinds = [
        (MediaKind::Image, "a.jpeg", "image"),
        (MediaKind::Audio, "a.amr", "voice"),
        (MediaKind::Video, "a.mp4", "video"),
    ];
    for (kind, name, told) in kinds {
        let id = api.upload(file(kind, name, b"bytes")).await.unwrap();
        assert_eq!(sim.upload(&id).unwrap().kind, told);
    }
    assert_eq!(billed(&metrics), 4);
    let attachment = Attachment {
        media_id: Some(id),
        name: Some("报表.pdf".to_owned()),
        ..Attachment::default()
    };
    let content = Content::Media(MediaKind::File, attachment);
    sent(&api, user("u1"), &content).await;
    assert_eq!(sim.delivered()[0].msg_key, "sampleFile");
}

#[tokio::test]
async fn what_dingtalk_would_refuse_is_refused_before_the_call() {
    let sim = start(options()).await;
    let (api, _) = client(&sim);
    let error = upload(&api, "notes.txt").await.unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Permanent, "media-format")
    );
    assert!(sim.calls().is_empty());
    let fault = Fault::Reject {
        path: MEDIA_UPLOAD_PATH.to_owned(),
        status: 200,
        body: r#"{"errcode":40006,"errmsg":"不合法的文件大小"}"#.to_owned(),
        times: Some(1),
    };
    sim.inject(fault).await.unwrap();
    let error = upload(&api, "a.zip").await.unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Permanent, "40006")
    );
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_in_the_end_the_legacy_one_is_taken() {
    let sim = start(SimOptions {
        token_families: TokenFamilies::Strict,
        ..options()
    })
    .await;
    let (api, _) = client(&sim);
    for _ in 0..2 {
        let error = upload(&api, "a.zip").await.unwrap_err();
        assert_eq!(error.class, ErrorClass::RetryAfter(Duration::ZERO));
        assert_eq!(error.code, "40014");
    }
    upload(&api, "a.zip").await.unwrap();
    upload(&api, "a.zip").await.unwrap();
    assert_eq!(sim.calls_of(TOKEN_PATH).len(), 2);
    assert_eq!(sim.calls_of(LEGACY_TOKEN_PATH).len(), 1);
    // The other family goes on with its own token.
    sent(&api, user("u1"), &super::text("x")).await;
}

#[tokio::test]
async fn an_upload_without_an_answer_may_be_made_again() {
    let sim = start(options()).await;
    let (api, _) = client(&sim);
    let fault = Fault::ApplyThenCut {
        path: MEDIA_UPLOAD_PATH.to_owned(),
        times: Some(1),
    };
    sim.inject(fault).await.unwrap();
    let error = upload(&api, "a.zip").await.unwrap_err();
    assert!(
        matches!(error.class, ErrorClass::RetryAfter(_)),
        "{error:?}"
    );
    let shown = format!("{error:?} {error}");
    assert!(!shown.contains("access_token"), "{shown}");
    upload(&api, "a.zip").await.unwrap();
}

#[tokio::test]
async fn an_upload_has_more_time_than_other_calls() {
    let sim = start(options()).await;
    let (api, _) = client(&sim);
    let fault = Fault::Delay {
        path: MEDIA_UPLOAD_PATH.to_owned(),
        ms: 2500,
        times: Some(1),
    };
    sim.inject(fault).await.unwrap();
    upload(&api, "a.zip").await.unwrap();
}

#[tokio::test]
async fn a_received_file_is_fetched_by_its_code() {
    let sim = start(options()).await;
    let (api, metrics) = client(&sim);
    let file = Sent::file("a.pdf", &b"%PDF-1.7"[..]).sized(2_000_000);
    let wanted = file.sha256();
    let code = code_of(&sim, file).await;
    let url = api.download_url(&code).await.unwrap();
    assert!(!format!("{url:?}").contains("http"));
    let fetcher = fetcher(&sim);
    let bytes = whole(&fetcher, url.expose()).await.unwrap();
    assert_eq!(sha256(&bytes), wanted);
    assert_eq!(billed(&metrics), 1);

    for fault in [
        Fault::CutBody {
            path: format!("{MEDIA_OBJECT_PATH}*"),
            after: 1000,
            times: Some(1),
        },
        Fault::Reject {
            path: format!("{MEDIA_OBJECT_PATH}*"),
            status: 503,
            body: String::new(),
            times: Some(1),
        },
    ] {
        sim.inject(fault).await.unwrap();
        let error = whole(&fetcher, url.expose()).await.unwrap_err();
        assert!(matches!(error, FetchError::Again(_)), "{error}");
        assert!(!error.to_string().contains("Signature"), "{error}");
    }
    let forged = url.expose().replace("Signature=", "Signature=x");
    let error = whole(&fetcher, &forged).await.unwrap_err();
    assert!(matches!(error, FetchError::Gone(_)), "{error}");
}

#[tokio::test]
async fn a_redirect_into_the_own_network_is_not_followed() {
    let sim = start(options()).await;
    let (api, _) = client(&sim);
    let code = code_of(&sim, Sent::file("a.pdf", &b"%PDF-1.7"[..])).await;
    let url = api.download_url(&code).await.unwrap();
    for to in ["http://169.254.169.254/latest", "http://127.0.0.1:1/x"] {
        let fault = Fault::Redirect {
            path: format!("{MEDIA_OBJECT_PATH}*"),
            to: to.to_owned(),
            times: Some(1),
        };
        sim.inject(fault).await.unwrap();
        let error = whole(&fetcher(&sim), url.expose()).await.unwrap_err();
        assert!(matches!(error, FetchError::Forbidden(_)), "{to}: {error}");
    }
}

#[tokio::test]
async fn an_expired_code_is_permanent_and_says_why() {
    let sim = start(options()).await;
    let (api, _) = client(&sim);
    let error = api.download_url("mIofNnobody").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permanent);
    assert!(error.cure.unwrap().contains("download codes"));
    // Nothing is changed by asking, so a lost answer is no doubt.
    let fault = Fault::CutCall {
        path: MEDIA_DOWNLOAD_PATH.to_owned(),
        times: Some(1),
    };
    sim.inject(fault).await.unwrap();
    let error = api.download_url("mIofNnobody").await.unwrap_err();
    assert!(
        matches!(error.class, ErrorClass::RetryAfter(_)),
        "{error:?}"
    );
}
