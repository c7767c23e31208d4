//! Files both ways: uploads by DingTalk's table, download codes, signed URLs, and what goes wrong with them.

use std::time::Duration;

use nats_dingtalk::sim::{
    Attachment, Fault, GROUP_SEND_PATH, MEDIA_DOWNLOAD_PATH, MEDIA_OBJECT_PATH, MEDIA_UPLOAD_PATH,
    Message, Sim, SimOptions, USER_SEND_PATH,
};
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{APP, Client, GROUP, OTHER, call, data, http, options, start, to_user, token};

const MIB: usize = 1024 * 1024;

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn upload_url(sim: &Sim, token: &str, kind: &str) -> String {
    let url = sim.oapi_url();
    format!("{url}{MEDIA_UPLOAD_PATH}?access_token={token}&type={kind}")
}

async fn post_form(url: String, form: Form) -> Value {
    let answer = http().post(url).multipart(form).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

async fn upload(sim: &Sim, kind: &str, name: &str, bytes: Vec<u8>) -> Value {
    let part = Part::bytes(bytes).file_name(name.to_owned());
    let url = upload_url(sim, &token(sim).await, kind);
    post_form(url, Form::new().part("media", part)).await
}

/// What a robot that was sent this message reads in it.
async fn received(sim: &Sim, client: &mut Client, app: &str, message: Message) -> Value {
    sim.say(app, message).await.unwrap();
    let frame = client.frame().await;
    client.ok(&frame).await;
    data(&frame)
}

async fn url_of(sim: &Sim, code: &Value) -> String {
    let body = json!({"robotCode": APP, "downloadCode": code});
    let (status, answer) = call(sim, MEDIA_DOWNLOAD_PATH, &token(sim).await, body).await;
    assert_eq!(status, 200, "{answer}");
    answer["downloadUrl"].as_str().unwrap().to_owned()
}

async fn fetched(url: &str) -> Vec<u8> {
    let answer = http().get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap().to_vec()
}

/// A connected robot that was sent a file, and the URL of that file.
async fn file_url(sim: &Sim, attachment: Attachment) -> String {
    let mut client = Client::connect(sim, APP).await;
    let message = Message::to_bot("u1", "").carrying(attachment);
    let body = received(sim, &mut client, APP, message).await;
    url_of(sim, &body["content"]["downloadCode"]).await
}

#[tokio::test]
async fn an_upload_gets_a_media_id_that_sends_may_name() {
    let sim = start(options()).await;
    let bytes = vec![7; 3000];
    let taken = upload(&sim, "file", "报告.pdf", bytes.clone()).await;
    assert_eq!(
        (&taken["errcode"], &taken["type"]),
        (&json!(0), &json!("file"))
    );
    let id = taken["media_id"].as_str().unwrap();
    assert!(id.starts_with('@'), "{id}");
    let seen = sim.upload(id).unwrap();
    assert_eq!((seen.app.as_str(), seen.kind.as_str()), (APP, "file"));
    assert_eq!((seen.file_name.as_str(), seen.size), ("报告.pdf", 3000));
    assert_eq!(seen.sha256, sha256(&bytes));
    assert_eq!(seen.head, bytes[..1024]);
    assert!(seen.body.is_none());
    let mut body = to_user("");
    body["msgKey"] = json!("sampleFile");
    for (named, status) in [(id, 200), ("@lAzUnknown", 400)] {
        let param = json!({"mediaId": named, "fileName": "报告.pdf", "fileType": "pdf"});
        body["msgParam"] = json!(param.to_string());
        let (answered, answer) = call(&sim, USER_SEND_PATH, &token(&sim).await, body.clone()).await;
        assert_eq!(answered, status, "{answer}");
    }
    assert_eq!(sim.delivered().len(), 1);
}

#[tokio::test]
async fn sends_that_name_an_unknown_media_id_are_refused() {
    let sim = start(options()).await;
    let video = upload(&sim, "video", "a.mp4", vec![1; 10]).await;
    let video = video["media_id"].as_str().unwrap();
    let rows = [
        (
            "sampleAudio",
            json!({"mediaId": "@x", "duration": "1"}),
            "invalid.param.mediaId",
        ),
        (
            "sampleImageMsg",
            json!({"photoURL": "@x"}),
            "invalid.param.photoURL",
        ),
        (
            "sampleVideo",
            json!({"videoMediaId": video, "videoType": "mp4", "picMediaId": "@x", "duration": "1"}),
            "invalid.param.picMediaId",
        ),
        (
            "sampleVideo",
            json!({"videoMediaId": "$x", "videoType": "mp4", "picMediaId": "@x", "duration": "1"}),
            "invalid.param.videoMediaId",
        ),
    ];
    let token = token(&sim).await;
    for (key, param, code) in rows {
        let body = json!({"robotCode": APP, "openConversationId": GROUP, "msgKey": key,
                          "msgParam": param.to_string()});
        let (status, answer) = call(&sim, GROUP_SEND_PATH, &token, body).await;
        assert_eq!((status, answer["code"].as_str()), (400, Some(code)));
    }
    let body = json!({"robotCode": APP, "openConversationId": GROUP, "msgKey": "sampleImageMsg",
                      "msgParam": json!({"photoURL": "https://example.com/a.png"}).to_string()});
    assert_eq!(call(&sim, GROUP_SEND_PATH, &token, body).await.0, 200);
}

#[tokio::test]
async fn the_type_may_come_as_a_form_field_and_the_body_in_chunks() {
    let sim = start(SimOptions {
        keep_uploads: true,
        ..options()
    })
    .await;
    let chunks = (0..64_u8).map(|n| Ok::<_, std::io::Error>(vec![n; 4096]));
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let form = Form::new().text("type", "image").part(
        "media",
        Part::stream(body)
            .file_name("a.png")
            .mime_str("image/png")
            .unwrap(),
    );
    let url = upload_url(&sim, &token(&sim).await, "");
    let answer = post_form(url, form).await;
    assert_eq!(answer["errcode"], 0, "{answer}");
    let seen = sim.upload(answer["media_id"].as_str().unwrap()).unwrap();
    assert_eq!(
        (seen.kind.as_str(), seen.content_type.as_str()),
        ("image", "image/png")
    );
    assert_eq!(sha256(&seen.body.unwrap()), seen.sha256);
    assert_eq!(seen.size, 64 * 4096);
}

#[tokio::test]
async fn bad_uploads_get_the_documented_errcodes_with_status_200() {
    let sim = start(options()).await;
    for (kind, name, size, errcode) in [
        ("image", "a.png", 20 * MIB + 1, 40006),
        ("voice", "a.amr", 2 * MIB + 1, 40006),
        ("file", "a.md", 5, 40005),
        ("file", "a.pdf", 0, 44001),
        ("paper", "a.pdf", 5, 40004),
    ] {
        let answer = upload(&sim, kind, name, vec![0; size]).await;
        assert_eq!(answer["errcode"], errcode, "{kind} {name}");
        assert!(answer.get("media_id").is_none());
    }
    let url = upload_url(&sim, &token(&sim).await, "file");
    let answer = post_form(url.clone(), Form::new().text("other", "x")).await;
    assert_eq!(answer["errcode"], 41005);
    let answer = http().post(&url).json(&json!({})).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["errcode"], 43008);
    let answer = http().get(&url).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["errcode"], 43002);
    for (token, errcode) in [("", 41001), ("wrong", 40014)] {
        let part = Part::bytes(vec![1]).file_name("a.pdf");
        let url = upload_url(&sim, token, "file");
        let answer = post_form(url, Form::new().part("media", part)).await;
        assert_eq!(answer["errcode"], errcode);
    }
    assert!(sim.uploads().iter().all(|upload| upload.media_id.is_none()));
    assert_eq!(sim.uploads()[0].refused.as_deref(), Some("40006"));
}

#[tokio::test]
async fn an_upload_is_limited_in_rate_by_the_errcode_of_its_family() {
    let sim = start(SimOptions {
        calls_per_second: Some(1),
        ..options()
    })
    .await;
    let first = upload(&sim, "file", "a.pdf", vec![1]).await;
    let second = upload(&sim, "file", "a.pdf", vec![1]).await;
    assert_eq!(
        (&first["errcode"], &second["errcode"]),
        (&json!(0), &json!(90018))
    );
}

#[tokio::test]
async fn a_refused_upload_is_read_to_its_end_first() {
    let sim = start(options()).await;
    sim.inject(Fault::Reject {
        path: MEDIA_UPLOAD_PATH.to_owned(),
        status: 503,
        body: String::new(),
        times: Some(1),
    })
    .await
    .unwrap();
    let part = Part::bytes(vec![0; 20 * MIB]).file_name("a.pdf");
    let url = upload_url(&sim, &token(&sim).await, "file");
    let form = Form::new().part("media", part);
    let answer = http().post(url).multipart(form).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(sim.uploads().is_empty());
}

#[tokio::test]
async fn every_kind_of_attachment_comes_in_its_own_shape_with_its_bytes_behind_it() {
    let sim = start(options()).await;
    let mut client = Client::connect(&sim, APP).await;
    let rows = [
        ("picture", Attachment::picture(&b"\x89PNG"[..])),
        ("file", Attachment::file("a.zip", &b"PK"[..])),
        ("audio", Attachment::audio(4000, "你好", &b"#!AMR"[..])),
        ("video", Attachment::video(4200, &b"mp4"[..])),
    ];
    for (kind, attachment) in rows {
        let message = Message::to_bot("u1", "").carrying(attachment.clone());
        let body = received(&sim, &mut client, APP, message).await;
        assert_eq!(body["msgtype"], kind);
        assert!(body.get("text").is_none());
        let content = &body["content"];
        let url = url_of(&sim, &content["downloadCode"]).await;
        assert_eq!(fetched(&url).await, attachment.bytes);
        match kind {
            "picture" => {
                let url = url_of(&sim, &content["pictureDownloadCode"]).await;
                assert_eq!(fetched(&url).await, attachment.bytes);
            }
            "file" => assert_eq!(content["fileName"], "a.zip"),
            "audio" => assert_eq!(
                (&content["duration"], &content["recognition"]),
                (&json!(4000), &json!("你好"))
            ),
            _ => assert_eq!(
                (&content["duration"], &content["videoType"]),
                (&json!("5"), &json!("mp4"))
            ),
        }
    }
}

#[tokio::test]
async fn pictures_beside_a_text_make_a_rich_text_and_a_quoted_file_has_its_code() {
    let sim = start(options()).await;
    let mut client = Client::connect(&sim, APP).await;
    let message = Message::in_group(GROUP, "u1", "看图")
        .carrying(Attachment::picture(&b"one"[..]))
        .carrying(Attachment::picture(&b"two"[..]));
    let body = received(&sim, &mut client, APP, message).await;
    assert_eq!(body["msgtype"], "richText");
    let items = body["content"]["richText"].as_array().unwrap();
    assert_eq!(items[0], json!({"text": "看图"}));
    let pictures: Vec<&Value> = items
        .iter()
        .filter(|item| item["type"] == "picture")
        .collect();
    assert_eq!(pictures.len(), 2);
    for (picture, bytes) in pictures.iter().zip([b"one", b"two"]) {
        let url = url_of(&sim, &picture["downloadCode"]).await;
        assert_eq!(fetched(&url).await, bytes);
    }
    let message = Message::to_bot("u1", "看这个").quoting(Attachment::file("r.pdf", &b"%PDF"[..]));
    let body = received(&sim, &mut client, APP, message).await;
    assert_eq!(
        (&body["msgtype"], &body["text"]["isReplyMsg"]),
        (&json!("text"), &json!(true))
    );
    let replied = &body["text"]["repliedMsg"];
    assert_eq!(
        (&replied["msgType"], &replied["content"]["fileName"]),
        (&json!("file"), &json!("r.pdf"))
    );
    let url = url_of(&sim, &replied["content"]["downloadCode"]).await;
    assert_eq!(fetched(&url).await, b"%PDF");
    let message = Message::to_bot("u1", "text").carrying(Attachment::file("r.pdf", &b"x"[..]));
    let refused = sim.say(APP, message).await.unwrap_err();
    assert!(refused.to_string().contains("only pictures"), "{refused}");
}

#[tokio::test]
async fn a_download_code_is_for_one_robot_and_for_a_while() {
    let sim = start(options()).await;
    let mut client = Client::connect(&sim, OTHER).await;
    let message = Message::to_bot("u1", "").carrying(Attachment::file("a.pdf", &b"x"[..]));
    let body = received(&sim, &mut client, OTHER, message).await;
    let foreign = body["content"]["downloadCode"].clone();
    let token = token(&sim).await;
    for (robot, code, refusal) in [
        (APP, foreign.clone(), "invalidParameter.robotCode.auth"),
        (OTHER, foreign, "invalidParameter.robotCode.auth"),
        (
            APP,
            json!("mIofNone"),
            "invalidParameter.robotCode.downloadCode",
        ),
        (APP, json!(""), "invalidParameter.robotCode.empty"),
        ("", json!("x"), "invalidParameter.robotCode.empty"),
    ] {
        let body = json!({"robotCode": robot, "downloadCode": code});
        let (status, answer) = call(&sim, MEDIA_DOWNLOAD_PATH, &token, body).await;
        assert_eq!((status, answer["code"].as_str()), (400, Some(refusal)));
    }
    let mut own = Client::connect(&sim, APP).await;
    let message = Message::to_bot("u1", "").carrying(Attachment::file("a.pdf", &b"x"[..]));
    let body = received(&sim, &mut own, APP, message).await;
    let body = json!({"robotCode": APP, "downloadCode": body["content"]["downloadCode"]});
    assert_eq!(
        call(&sim, MEDIA_DOWNLOAD_PATH, &token, body.clone())
            .await
            .0,
        200
    );
    let expire = Fault::ExpireDownloads {
        app: APP.to_owned(),
    };
    sim.inject(expire).await.unwrap();
    let (status, answer) = call(&sim, MEDIA_DOWNLOAD_PATH, &token, body).await;
    assert_eq!(
        (status, answer["code"].as_str()),
        (400, Some("invalidParameter.robotCode.downloadCode"))
    );
}

#[tokio::test]
async fn a_signed_url_announces_its_length_and_bears_no_further_headers() {
    let sim = start(options()).await;
    let url = file_url(&sim, Attachment::file("a.pdf", &b"%PDF"[..]).sized(100_000)).await;
    assert!(url.contains(".file?"), "{url}");
    let answer = http().get(&url).send().await.unwrap();
    assert_eq!(answer.content_length(), Some(100_000));
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    for header in [
        "x-acs-dingtalk-access-token",
        "authorization",
        "content-type",
    ] {
        let answer = http()
            .get(&url)
            .header(header, "text/plain")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 403, "{header}");
        let body = answer.text().await.unwrap();
        assert!(
            body.contains("<Code>SignatureDoesNotMatch</Code>"),
            "{body}"
        );
    }
    let other = url.replace("Expires=", "Expires=9");
    assert_eq!(http().get(other).send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_signed_url_expires() {
    let sim = start(SimOptions {
        download_url_life: Duration::ZERO,
        ..options()
    })
    .await;
    let url = file_url(&sim, Attachment::file("a.pdf", &b"%PDF"[..])).await;
    let answer = http().get(&url).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    let body = answer.text().await.unwrap();
    assert!(body.contains("Request has expired."), "{body}");
}

#[tokio::test]
async fn the_url_may_come_nested() {
    let sim = start(SimOptions {
        nested_download_url: true,
        ..options()
    })
    .await;
    let mut client = Client::connect(&sim, APP).await;
    let message = Message::to_bot("u1", "").carrying(Attachment::file("a.pdf", &b"x"[..]));
    let body = received(&sim, &mut client, APP, message).await;
    let body = json!({"robotCode": APP, "downloadCode": body["content"]["downloadCode"]});
    let (_, answer) = call(&sim, MEDIA_DOWNLOAD_PATH, &token(&sim).await, body).await;
    assert_eq!(
        fetched(answer["data"]["downloadUrl"].as_str().unwrap()).await,
        b"x"
    );
}

#[tokio::test]
async fn a_large_file_is_generated_and_is_the_same_every_time() {
    let sim = start(options()).await;
    let file = Attachment::file("big.zip", &b"PK"[..]).sized(20_000_000);
    let url = file_url(&sim, file.clone()).await;
    let bytes = fetched(&url).await;
    assert_eq!(bytes.len(), 20_000_000);
    assert_eq!(sha256(&bytes), file.sha256());
}

#[tokio::test]
async fn a_download_can_be_sent_elsewhere_cut_and_made_too_long() {
    let sim = start(options()).await;
    let url = file_url(&sim, Attachment::file("a.pdf", vec![5; 100_000])).await;
    let path = format!("{MEDIA_OBJECT_PATH}*");
    let times = Some(1);
    let faults = [
        Fault::Redirect {
            path: path.clone(),
            to: "http://169.254.169.254/latest".to_owned(),
            times,
        },
        Fault::CutBody {
            path: path.clone(),
            after: 5000,
            times,
        },
        Fault::Lengthen {
            path,
            bytes: 70_000,
            times,
        },
    ];
    for fault in faults {
        sim.inject(fault).await.unwrap();
    }
    let plain = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let answer = plain.get(&url).send().await.unwrap();
    assert_eq!(answer.status(), 302);
    assert_eq!(
        answer.headers()["location"],
        "http://169.254.169.254/latest"
    );
    let mut cut = plain.get(&url).send().await.unwrap();
    assert_eq!(cut.content_length(), Some(100_000));
    let mut came = 0;
    let broken = loop {
        match cut.chunk().await {
            Ok(Some(chunk)) => came += chunk.len(),
            ended => break ended,
        }
    };
    assert!(broken.is_err(), "the body ended well");
    assert!(came <= 5000, "{came}");
    let long = plain.get(&url).send().await.unwrap();
    assert_eq!(long.content_length(), None);
    assert_eq!(long.bytes().await.unwrap().len(), 170_000);
    assert_eq!(fetched(&url).await.len(), 100_000);
}

#[tokio::test]
async fn a_person_can_send_files_over_http_and_see_uploads() {
    let sim = start(options()).await;
    let mut client = Client::connect(&sim, APP).await;
    let order = json!({"app": APP, "user": "u1", "attachments":
        [{"kind": "file", "name": "a.pdf", "base64": "JVBERi0=", "size": 3_000_000}]});
    let (status, said) = call(&sim, "/sim/say", "", order).await;
    assert_eq!(status, 200, "{said}");
    let frame = client.frame().await;
    let url = url_of(&sim, &data(&frame)["content"]["downloadCode"]).await;
    let bytes = fetched(&url).await;
    assert_eq!((bytes.len(), &bytes[..5]), (3_000_000, &b"%PDF-"[..]));
    let order = json!({"app": APP, "user": "u1", "text": "x", "attachments": [{"kind": "video"}]});
    assert_eq!(call(&sim, "/sim/say", "", order).await.0, 400);
    upload(&sim, "image", "a.png", vec![1; 10]).await;
    let url = format!("{}/sim/uploads", sim.api_url());
    let seen: Value = http().get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(
        (&seen[0]["size"], &seen[0]["kind"]),
        (&json!(10), &json!("image"))
    );
}
