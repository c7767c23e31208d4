//! The limit behind every contender: ready-made messages, published as fast as a window allows, nothing
//! else. It prints what it measured for the harness.

use std::collections::VecDeque;
use std::future::IntoFuture;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::context::{Context, ContextBuilder};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;

use super::process::{cpu, memory};
use super::pusher::{Run, frame_data};
use super::shape::Shape;

/// What the harness reads.
pub(super) struct Published {
    pub(super) run: Run,
    pub(super) cpu: Duration,
    pub(super) broker_cpu: Duration,
    pub(super) peak_mib: f64,
}

/// `nats URL`, process id of the broker, sample or `-`, window, messages before the measurement and in it.
pub(super) async fn run(arguments: &[&str]) {
    let [nats, broker, sample, window, warm_up, count] = arguments else {
        panic!("six arguments");
    };
    let broker: u32 = broker.parse().unwrap();
    let (window, warm_up): (usize, u64) = (window.parse().unwrap(), warm_up.parse().unwrap());
    let shape = Shape::read(sample);
    let client = async_nats::connect(*nats).await.unwrap();
    let jetstream = ContextBuilder::new()
        .timeout(Duration::from_secs(5))
        .max_ack_inflight(window * 2)
        .build(client);
    publish(&jetstream, ready(&shape, 0, warm_up), window).await;
    let messages = ready(&shape, 1, count.parse().unwrap());
    let before = (cpu(std::process::id()), cpu(broker));
    let run = publish(&jetstream, messages, window).await;
    let used = (cpu(std::process::id()) - before.0, cpu(broker) - before.1);
    print!(
        "{} {} {} {} {}",
        run.answered,
        run.elapsed.as_micros(),
        used.0.as_micros(),
        used.1.as_micros(),
        memory(std::process::id(), "VmHWM"),
    );
    for latency in run.latencies {
        print!(" {latency}");
    }
}

/// Reads what [`run`] printed.
pub(super) fn read(printed: &str) -> Published {
    let mut numbers = printed.split(' ').map(|word| word.parse::<f64>().unwrap());
    let mut next = || numbers.next().unwrap();
    let (answered, elapsed) = (next() as u64, Duration::from_micros(next() as u64));
    let cpu = Duration::from_micros(next() as u64);
    let broker_cpu = Duration::from_micros(next() as u64);
    let peak_mib = next();
    Published {
        run: Run {
            answered,
            elapsed,
            latencies: numbers.map(|latency| latency as u32).collect(),
        },
        cpu,
        broker_cpu,
        peak_mib,
    }
}

fn ready(shape: &Shape, run: u64, count: u64) -> Vec<(String, HeaderMap, Bytes)> {
    let message = |number| {
        let (msg_id, chat, data) = frame_data(run, number);
        let (subject, headers, body) = shape.message(&msg_id, &chat);
        (subject, headers, body.unwrap_or_else(|| data.into()))
    };
    (0..count).map(message).collect()
}

async fn publish(
    jetstream: &Context,
    messages: Vec<(String, HeaderMap, Bytes)>,
    window: usize,
) -> Run {
    let begun = Instant::now();
    let mut acks = FuturesOrdered::new();
    let mut sent: VecDeque<Instant> = VecDeque::with_capacity(window);
    let mut latencies = Vec::with_capacity(messages.len());
    let mut heard = |sent: &mut VecDeque<Instant>| {
        let at = sent.pop_front().unwrap();
        latencies.push(u32::try_from(at.elapsed().as_micros()).unwrap_or(u32::MAX));
    };
    for (subject, headers, body) in messages {
        if acks.len() == window {
            let acked: Option<Result<_, async_nats::jetstream::context::PublishError>> =
                acks.next().await;
            acked.unwrap().unwrap();
            heard(&mut sent);
        }
        sent.push_back(Instant::now());
        let ack = jetstream.publish_with_headers(subject, headers, body).await;
        acks.push_back(ack.unwrap().into_future());
    }
    while let Some(acked) = acks.next().await {
        acked.unwrap();
        heard(&mut sent);
    }
    let elapsed = begun.elapsed();
    latencies.sort_unstable();
    Run {
        answered: latencies.len() as u64,
        elapsed,
        latencies,
    }
}
