//! Pushes bot messages as fast as a window or a rate allows and notes when each one is answered.

use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use futures_util::stream::select_all;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;

use super::gateway::{Sink, Socket, Source};

/// How long an answer may take before the frame counts as unanswered.
const PATIENCE: Duration = Duration::from_secs(20);
/// How late a push at a rate may be before the delay counts as the contender's: the timer ticks in
/// milliseconds. Beyond that the socket did not take it, and what waits for that waits for an answer too.
const SLACK: Duration = Duration::from_millis(2);

/// Chats that frames are spread over unless their number is what is measured.
pub(super) const CHATS: u64 = 1000;

/// One measured run.
pub(super) struct Run {
    /// Frames answered.
    pub(super) answered: u64,
    /// From the first push to the last answer.
    pub(super) elapsed: Duration,
    /// Time from push to answer of each frame, sorted, in microseconds.
    pub(super) latencies: Vec<u32>,
}

/// How fast frames are pushed.
#[derive(Clone, Copy)]
pub(super) enum Pace {
    /// At most this many unanswered at a time.
    Window(u64),
    /// This many a second, answered or not.
    Rate(f64),
}

/// What is pushed.
#[derive(Clone, Copy)]
pub(super) struct Load {
    /// Part of every message id, so that no two runs push the same.
    pub(super) run: u64,
    pub(super) frames: u64,
    /// Chats that the frames are spread over.
    pub(super) chats: u64,
    pub(super) pace: Pace,
}

/// A bot message of about a kibibyte, with the ids of frame `number`; all are equally long.
fn frame((run, number): (u64, u64), chats: u64) -> String {
    let chat = number % chats;
    format!(
        concat!(
            r#"{{"specVersion":"1.0","type":"CALLBACK","headers":{{"appId":"765ed67b-b170-4e12-ba38-6b59dc404ddb","#,
            r#""connectionId":"2f9c95bd-fe85-11f0-bee8-0eb3b764c0bb","contentType":"application/json","#,
            r#""messageId":"m{number}","time":"1769851697756","topic":"/v1.0/im/bot/messages/get"}},"#,
            r#""data":"{{\"senderPlatform\":\"Win\",\"conversationId\":\"cid{chat:08}KkuqlMgfkg3Sw==\",\"atUsers\":[{{\"dingtalkId\":\"$:LWCP_v1:$48dPp/SC322QYZqMgNb5ZeORohQeyTvl\"}}],"#,
            r#"\"chatbotCorpId\":\"dinga3491c12aa70e527\",\"chatbotUserId\":\"$:LWCP_v1:$48dPp/SC322QYZqMgNb5ZeORohQeyTvl\",\"openThreadId\":\"cid{chat:08}KkuqlMgfkg3Sw==\",\"msgId\":\"msg{run:04}{number:014}==\","#,
            r#"\"senderNick\":\"小钉\",\"isAdmin\":true,\"senderStaffId\":\"manager733\",\"sessionWebhookExpiredTime\":1969857097744,\"createAt\":1769851697611,"#,
            r#"\"senderCorpId\":\"dinga3491c12aa70e527\",\"conversationType\":\"2\",\"senderId\":\"$:LWCP_v1:$Cl5rGz9Xf2eSzB8bTv7z6Q==\",\"conversationTitle\":\"机器人测试\",\"isInAtList\":true,"#,
            r#"\"sessionWebhook\":\"https://oapi.dingtalk.com/robot/sendBySession?session=0a1b6a5e9c7b3c7b8e4b4b5b9e4b9f3f\",\"text\":{{\"content\":\" 今天下午三点开会，请大家提前准备好各自负责的部分\"}},\"robotCode\":\"dingpoinexqqgd315615\",\"msgtype\":\"text\"}}"}}"#
        ),
        number = number,
        chat = chat,
        run = run,
    )
}

/// Id, chat and data of a frame, as one that was read has them.
pub(super) fn frame_data(run: u64, number: u64) -> (String, String, String) {
    let envelope: serde_json::Value = serde_json::from_str(&frame((run, number), CHATS)).unwrap();
    let text = envelope["data"].as_str().unwrap().to_owned();
    let data: serde_json::Value = serde_json::from_str(&text).unwrap();
    let id = |name: &str| data[name].as_str().unwrap().to_owned();
    (id("msgId"), id("conversationId"), text)
}

/// Bytes of one frame.
pub(super) fn frame_bytes() -> usize {
    frame((0, 0), 1).len()
}

/// What the pushing and the hearing half share.
struct Shared {
    load: Load,
    begun: Instant,
    /// When each frame counts as pushed, in microseconds since the beginning.
    pushed: Vec<AtomicU32>,
    count: AtomicU64,
    more: Notify,
}

/// Pushes over all sockets in turn and waits for the answers.
pub(super) async fn push(sockets: &mut [Socket], load: Load) -> Run {
    let (sinks, sources): (Vec<_>, Vec<_>) =
        sockets.iter_mut().map(|(to, from)| (to, from)).unzip();
    let shared = Shared {
        load,
        begun: Instant::now(),
        pushed: (0..load.frames).map(|_| AtomicU32::new(0)).collect(),
        count: AtomicU64::new(0),
        more: Notify::new(),
    };
    let hearing = pin!(shared.hear(sources));
    let pushing = pin!(shared.push(sinks));
    let (elapsed, mut latencies) = match select(hearing, pushing).await {
        // Nothing is heard any more: what is left would wait for its window for ever.
        Either::Left((heard, _)) => heard,
        Either::Right(((), hearing)) => hearing.await,
    };
    latencies.sort_unstable();
    Run {
        answered: latencies.len() as u64,
        elapsed,
        latencies,
    }
}

impl Shared {
    /// Microseconds since the beginning.
    fn now(&self) -> u32 {
        u32::try_from(self.begun.elapsed().as_micros()).unwrap_or(u32::MAX)
    }

    async fn hear(&self, sources: Vec<&mut Source>) -> (Duration, Vec<u32>) {
        let mut answers = select_all(sources);
        let mut latencies = Vec::with_capacity(self.pushed.len());
        let mut last = 0;
        while latencies.len() < self.pushed.len() {
            let Ok(Some(Ok(message))) = tokio::time::timeout(PATIENCE, answers.next()).await else {
                break;
            };
            let Message::Text(text) = message else {
                continue;
            };
            let number = answered(&text).and_then(|number| usize::try_from(number).ok());
            let Some(at) = number.and_then(|number| self.pushed.get(number)) else {
                continue;
            };
            // A second answer to the same frame finds nothing.
            let at = at.swap(u32::MAX, Ordering::Relaxed);
            if at != u32::MAX {
                last = self.now();
                latencies.push(last.saturating_sub(at));
                self.count.fetch_add(1, Ordering::Relaxed);
                self.more.notify_one();
            }
        }
        (Duration::from_micros(last.into()), latencies)
    }

    async fn push(&self, mut sinks: Vec<&mut Sink>) {
        let Load {
            run,
            frames,
            chats,
            pace,
        } = self.load;
        let mut number = 0;
        while number < frames {
            let due = self.due(number).min(frames - number);
            if due == 0 {
                match pace {
                    Pace::Window(_) => self.more.notified().await,
                    Pace::Rate(_) => tokio::time::sleep(Duration::from_micros(500)).await,
                }
                continue;
            }
            let count = sinks.len();
            let first = usize::try_from(number).unwrap();
            for _ in 0..due {
                let at = usize::try_from(number).unwrap();
                self.pushed[at].store(self.stamp(number), Ordering::Relaxed);
                let text = frame((run, number), chats);
                sinks[at % count].feed(Message::text(text)).await.unwrap();
                number += 1;
            }
            for at in first..(first + count).min(usize::try_from(number).unwrap()) {
                sinks[at % count].flush().await.unwrap();
            }
        }
    }

    /// How many may be pushed now, when `number` have been.
    fn due(&self, number: u64) -> u64 {
        match self.load.pace {
            Pace::Window(window) => {
                window.saturating_sub(number - self.count.load(Ordering::Relaxed))
            }
            Pace::Rate(rate) => {
                let target = (self.begun.elapsed().as_secs_f64() * rate) as u64;
                target.saturating_sub(number)
            }
        }
    }

    /// When a frame that is pushed now counts as pushed.
    fn stamp(&self, number: u64) -> u32 {
        match self.load.pace {
            Pace::Window(_) => self.now(),
            Pace::Rate(rate) => {
                let due = number as f64 / rate * 1e6 + SLACK.as_micros() as f64;
                self.now().min(due as u32)
            }
        }
    }
}

/// The number in the `messageId` of an answer with code 200.
fn answered(text: &str) -> Option<u64> {
    if !text.contains("200") {
        return None;
    }
    let (_, rest) = text.split_once("\"messageId\"")?;
    let (_, rest) = rest.split_once("\"m")?;
    rest.split_once('"')?.0.parse().ok()
}
