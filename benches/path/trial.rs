//! One measurement: a contender started fresh, warmed up, loaded, and what it and its neighbours used.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::contender::Contender;
use super::gateway::{Gateway, Socket};
use super::process::{Process, cpu};
use super::publish;
use super::pusher::{CHATS, Load, Pace, Run, push};
use super::setting::Setting;
use super::shape::Sample;

/// What a trial pushes before it is measured.
pub(super) const WARM_UP: u64 = 2_000;

/// What one trial came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figures {
    /// Frames a second.
    pub(super) rate: f64,
    /// Time from push to answer, in ms.
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    /// Processor time a frame, in µs: of the contender, the broker, and the pusher.
    pub(super) own: f64,
    pub(super) broker: f64,
    pub(super) pusher: f64,
    /// Memory of the contender at its peak.
    pub(super) peak_mib: f64,
    /// Everything was answered, and everything stored once.
    pub(super) whole: bool,
}

impl Figures {
    /// From a run and the processor times of contender, broker and pusher.
    pub(super) fn new(run: &Run, used: [Duration; 3]) -> Self {
        let percentile = |share: f64| {
            let at = (run.latencies.len() as f64 * share) as usize;
            let last = run.latencies.len().saturating_sub(1);
            let found = run.latencies.get(at.min(last));
            found.map_or(f64::NAN, |micros| f64::from(*micros) / 1000.0)
        };
        let answered = run.answered as f64;
        let [own, broker, pusher] = used.map(|used| used.as_secs_f64() * 1e6 / answered);
        Self {
            rate: answered / run.elapsed.as_secs_f64(),
            p50: percentile(0.5),
            p99: percentile(0.99),
            p999: percentile(0.999),
            own,
            broker,
            pusher,
            peak_mib: 0.0,
            whole: true,
        }
    }
}

/// A contender that runs, with everything around it.
pub(super) struct Trial {
    pub(super) setting: Setting,
    pub(super) process: Process,
    pub(super) sockets: Vec<Socket>,
    gateway: Gateway,
}

/// What all trials share: the message that the bridge makes of a frame, and ids that no trial repeats.
pub(super) struct Bench {
    pub(super) sample: Sample,
    dir: TempDir,
    runs: AtomicU64,
}

impl Bench {
    /// Lets the bridge store one frame and keeps what it made of it.
    pub(super) async fn new() -> Self {
        let gateway = Gateway::start().await;
        let setting = Setting::new(&gateway.url()).await;
        let _bridge = setting.bridge();
        let mut sockets = gateway.sockets(1).await;
        let load = Load {
            run: 0,
            frames: 1,
            chats: CHATS,
            pace: Pace::Window(1),
        };
        assert_eq!(
            push(&mut sockets, load).await.answered,
            1,
            "the bridge answers"
        );
        let sample = Sample::of(&setting.broker().jetstream().await).await;
        let dir = TempDir::new().unwrap();
        let bench = Self {
            sample,
            dir,
            runs: AtomicU64::new(1),
        };
        bench.sample.write(&bench.sample_path());
        bench
    }

    /// Where that message lies.
    pub(super) fn sample_path(&self) -> PathBuf {
        self.dir.path().join("sample")
    }

    /// A load whose ids no other has.
    pub(super) fn load(&self, frames: u64, pace: Pace) -> Load {
        Load {
            run: self.runs.fetch_add(1, Ordering::Relaxed),
            frames,
            chats: CHATS,
            pace,
        }
    }

    /// A contender on a fresh broker, warmed up; `None` when what it needs is missing.
    pub(super) async fn start(&self, contender: Contender) -> Option<Trial> {
        let gateway = Gateway::start().await;
        let setting = Setting::new(&gateway.url()).await;
        let process = contender.start(&setting, &self.sample_path())?;
        let sockets = gateway.sockets(1).await;
        let mut trial = Trial {
            setting,
            process,
            sockets,
            gateway,
        };
        trial.warm_up(self).await;
        Some(trial)
    }

    /// A contender with a window, from its start to its end.
    pub(super) async fn windowed(
        &self,
        contender: Contender,
        window: u64,
        frames: u64,
    ) -> Option<Figures> {
        if matches!(contender, Contender::Publish | Contender::PublishFull) {
            return Some(self.published(contender, window, frames).await);
        }
        let mut trial = self.start(contender).await?;
        let load = self.load(frames, Pace::Window(window));
        let mut figures = trial.measure(load).await;
        figures.whole &= trial.setting.stored().await == frames + WARM_UP;
        Some(figures)
    }

    /// Publishing alone, by a process of its own that measures itself.
    async fn published(&self, contender: Contender, window: u64, frames: u64) -> Figures {
        let setting = Setting::new("http://127.0.0.1:1").await;
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--publish", &setting.broker().url()])
            .arg(setting.broker().pid().to_string())
            .arg(contender.sample(&self.sample_path()))
            .args([window, WARM_UP, frames].map(|number| number.to_string()))
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        let published = publish::read(&String::from_utf8(output.stdout).unwrap());
        let used = [published.cpu, published.broker_cpu, Duration::ZERO];
        let mut figures = Figures::new(&published.run, used);
        figures.peak_mib = published.peak_mib;
        figures.whole = setting.stored().await == frames + WARM_UP;
        figures
    }
}

impl Trial {
    /// Around a process that runs already.
    pub(super) fn around(setting: Setting, process: Process, gateway: Gateway) -> Self {
        Self {
            setting,
            process,
            sockets: Vec::new(),
            gateway,
        }
    }

    /// The surroundings, once the contender has been killed.
    pub(super) fn parts(self) -> (Gateway, Setting) {
        (self.gateway, self.setting)
    }

    /// Pushes what is not measured.
    pub(super) async fn warm_up(&mut self, bench: &Bench) {
        push(&mut self.sockets, bench.load(WARM_UP, Pace::Window(64))).await;
    }

    /// Waits for so many more sockets.
    pub(super) async fn connected(&mut self, count: u64) {
        self.sockets.extend(self.gateway.sockets(count).await);
    }

    /// Processor time of contender, broker and pusher so far.
    fn used(&self) -> [Duration; 3] {
        let (broker, pusher) = (self.setting.broker().pid(), std::process::id());
        [self.process.cpu(), cpu(broker), cpu(pusher)]
    }

    /// Pushes a load and says what it cost.
    pub(super) async fn measure(&mut self, load: Load) -> Figures {
        let before = self.used();
        let run = push(&mut self.sockets, load).await;
        let mut spent = self.used();
        for (spent, before) in spent.iter_mut().zip(before) {
            *spent -= before;
        }
        let mut figures = Figures::new(&run, spent);
        figures.peak_mib = self.process.memory("VmHWM");
        figures.whole = run.answered == load.frames;
        figures
    }
}
