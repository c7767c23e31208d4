//! Cards: created, delivered, updated, streamed, and refused.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nats_dingtalk::dingtalk::api::{
    CardDraft, CardFrame, CardMentions, CardSpace, Created, ErrorClass, FrameEnd, SentTo,
};
use nats_dingtalk::sim::{
    CARD_DELIVER_PATH, CARD_PATH, CARD_STREAMING_PATH, CardState, CardTemplate, Fault, SimOptions,
};

use super::{billed, client};
use crate::sim::{GROUP, options, start};

const TEMPLATE: &str = "02fcf2f4-5e02-4a85-b672-46d1f715543e.schema";

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn with_templates() -> SimOptions {
    SimOptions {
        card_templates: Some(CardTemplate::shared()),
        card_frame_gap: None,
        ..options()
    }
}

fn draft(id: &str, space: CardSpace) -> CardDraft {
    CardDraft {
        out_track_id: id.to_owned(),
        template: TEMPLATE.to_owned(),
        params: map(&[("msgContent", "…")]),
        private: BTreeMap::new(),
        space,
        mentions: CardMentions::default(),
        summary: None,
    }
}

fn in_group(id: &str) -> CardDraft {
    draft(id, CardSpace::Group(GROUP.to_owned()))
}

fn frame(id: &str, guid: &str, content: &str, end: FrameEnd) -> CardFrame {
    CardFrame {
        out_track_id: id.to_owned(),
        guid: guid.to_owned(),
        key: "msgContent".to_owned(),
        content: content.to_owned(),
        end,
    }
}

#[tokio::test]
async fn a_card_is_created_delivered_updated_and_streamed_to_its_end() {
    let sim = start(with_templates()).await;
    let (api, metrics) = client(&sim);
    let mut card = in_group("c1");
    card.mentions.users = map(&[("u1", "One")]);
    card.private
        .insert("u1".to_owned(), map(&[("button", "mine")]));
    assert_eq!(api.create_card(&card).await, Ok(Created::New));
    let seen = sim.card("c1").unwrap();
    assert_eq!(seen.callback_type, "STREAM");
    assert_eq!(seen.user_id_type, 1);
    assert_eq!(seen.params["config"], r#"{"autoLayout":true}"#);
    assert_eq!(seen.seen_by("u1")["button"], "mine");

    let carrier = api.deliver_card(&card).await.unwrap().unwrap();
    let seen = sim.card("c1").unwrap();
    assert_eq!(seen.state, CardState::Delivered);
    assert_eq!(seen.chats().collect::<Vec<_>>(), [GROUP]);
    assert_eq!(seen.deliveries[0].at_users, ["u1"]);

    let none = BTreeMap::new();
    let started = map(&[("flowStatus", "2")]);
    api.update_card("c1", &started, &none).await.unwrap();
    let seen = sim.card("c1").unwrap();
    assert!(seen.updates[0].merged);
    assert_eq!(seen.params["msgContent"], "…");
    for frame in [
        frame("c1", "g1", "Hello", FrameEnd::Open),
        // The same again is shown once.
        frame("c1", "g1", "Hello", FrameEnd::Open),
        frame("c1", "g2", "Hello, world", FrameEnd::Finished),
    ] {
        api.stream_card(&frame).await.unwrap();
    }
    let seen = sim.card("c1").unwrap();
    assert_eq!(
        (seen.state, seen.text().as_str(), seen.accepted().count()),
        (CardState::Finished, "Hello, world", 2)
    );
    assert_eq!(billed(&metrics), 6);

    let recalled = api
        .recall(SentTo::Group(GROUP), std::slice::from_ref(&carrier))
        .await;
    assert_eq!(recalled.unwrap().recalled, [carrier]);
    assert_eq!(sim.card("c1").unwrap().chats().count(), 0);
}

#[tokio::test]
async fn a_card_for_one_user_fails_visibly_and_keeps_its_own_config() {
    let sim = start(with_templates()).await;
    let (api, _) = client(&sim);
    let mut card = draft("c2", CardSpace::User("manager1".to_owned()));
    card.params.insert("config".to_owned(), "{}".to_owned());
    card.summary = Some("a summary".to_owned());
    api.create_card(&card).await.unwrap();
    assert!(api.deliver_card(&card).await.unwrap().is_some());
    let failed = frame("c2", "g1", "no answer", FrameEnd::Failed);
    api.stream_card(&failed).await.unwrap();
    let seen = sim.card("c2").unwrap();
    assert_eq!(seen.state, CardState::Failed);
    assert_eq!(seen.chats().collect::<Vec<_>>(), ["manager1"]);
    assert_eq!(seen.params["config"], "{}");
}

#[tokio::test]
async fn a_creation_that_went_through_unheard_is_found_again() {
    let sim = start(with_templates()).await;
    let (api, _) = client(&sim);
    let fault = Fault::ApplyThenCut {
        path: CARD_PATH.to_owned(),
        times: Some(1),
    };
    sim.inject(fault).await.unwrap();
    let error = api.create_card(&in_group("c3")).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Ambiguous);
    assert_eq!(
        api.create_card(&in_group("c3")).await,
        Ok(Created::Existing)
    );
}

#[tokio::test]
async fn a_refusal_inside_a_success_is_one() {
    let sim = start(SimOptions {
        groups: Some(vec!["cidOther==".to_owned()]),
        ..with_templates()
    })
    .await;
    let (api, _) = client(&sim);
    let card = in_group("c4");
    api.create_card(&card).await.unwrap();
    let error = api.deliver_card(&card).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permanent);
    assert_eq!(error.message, "spaceId is illegal");

    // The same element under `result.deliverResults`.
    let body =
        r#"{"success":true,"result":{"deliverResults":[{"success":false,"errorMsg":"no"}]}}"#;
    let fault = Fault::Reject {
        path: CARD_DELIVER_PATH.to_owned(),
        status: 200,
        body: body.to_owned(),
        times: Some(1),
    };
    sim.inject(fault).await.unwrap();
    let error = api.deliver_card(&card).await.unwrap_err();
    assert_eq!(
        (error.class, error.message.as_str()),
        (ErrorClass::Permanent, "no")
    );
}

#[tokio::test]
async fn a_wrong_template_key_or_card_names_its_cure_or_is_permanent() {
    let sim = start(with_templates()).await;
    let (api, _) = client(&sim);
    let mut unknown = in_group("c5");
    unknown.template = "nobody.schema".to_owned();
    let error = api.create_card(&unknown).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permanent);
    assert!(error.cure.unwrap().contains("card_template"));

    let card = in_group("c6");
    api.create_card(&card).await.unwrap();
    api.deliver_card(&card).await.unwrap();
    let mut wrong = frame("c6", "g1", "x", FrameEnd::Open);
    wrong.key = "no_such_key".to_owned();
    let error = api.stream_card(&wrong).await.unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Permanent, "unknownError")
    );
    assert!(error.cure.unwrap().contains("card_key"));
    let lost = frame("nobody", "g1", "x", FrameEnd::Open);
    let error = api.stream_card(&lost).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permanent);
}

#[tokio::test]
async fn frames_that_come_too_fast_for_one_card_ask_for_a_wait() {
    let sim = start(SimOptions {
        card_frame_gap: Some(Duration::from_secs(5)),
        ..with_templates()
    })
    .await;
    let (api, metrics) = client(&sim);
    let card = in_group("c7");
    api.create_card(&card).await.unwrap();
    api.deliver_card(&card).await.unwrap();
    let open = |guid: &str| frame("c7", guid, guid, FrameEnd::Open);
    api.stream_card(&open("g1")).await.unwrap();
    let error = api.stream_card(&open("g2")).await.unwrap_err();
    assert!(matches!(error.class, ErrorClass::RetryAfter(wait) if wait >= Duration::from_secs(1)));
    assert_eq!(billed(&metrics), 3, "a throttled call is not billed");
}

#[tokio::test]
async fn card_calls_together_keep_the_ceiling() {
    let sim = start(with_templates()).await;
    let (api, _) = client(&sim);
    api.create_card(&in_group("c8")).await.unwrap();
    let none = BTreeMap::new();
    let start = Instant::now();
    for round in 0..25 {
        let text = round.to_string();
        let params = map(&[("title", &text)]);
        let guid = format!("g{round}");
        let frame = frame("c8", &guid, &text, FrameEnd::Open);
        let calls = tokio::join!(
            api.update_card("c8", &params, &none),
            api.stream_card(&frame)
        );
        calls.0.unwrap();
        calls.1.unwrap();
    }
    // 51 calls at 20 a second.
    assert!(
        start.elapsed() >= Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    let mut at: Vec<_> = [CARD_PATH, CARD_STREAMING_PATH]
        .iter()
        .flat_map(|path| sim.calls_of(path))
        .map(|call| call.at.as_millis())
        .collect();
    at.sort_unstable();
    assert_eq!(at.len(), 51);
    for (index, first) in at.iter().enumerate() {
        let inside = at[index..].iter().filter(|at| *at - first < 900).count();
        assert!(inside <= 20, "{inside} card calls in 0.9 s");
    }
}
