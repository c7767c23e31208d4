//! Named places on the way of a frame and of a request where a chaos run kills or pauses the process.
//! Only a build with `--cfg failpoints` has them; in every other build `failpoint!` is nothing.
//!
//! `FAILPOINT=<name>:<pass>` kills the process at that pass of the place, without a goodbye and
//! without flushing anything; `FAILPOINT=<name>:<pass>:<milliseconds>` freezes the task there instead.

/// A place with a name, for a chaos run to stop at.
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(failpoints)]
        $crate::failpoint::pass($name);
    };
}

#[cfg(failpoints)]
pub(crate) use armed::pass;

#[cfg(failpoints)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    /// What is armed, and how often its place was passed.
    struct Armed {
        name: String,
        at: u64,
        pause: Option<Duration>,
        passed: AtomicU64,
    }

    impl Armed {
        fn read(text: &str) -> Option<Self> {
            let mut fields = text.split(':');
            Some(Self {
                name: fields.next()?.to_owned(),
                at: fields.next()?.parse().ok()?,
                pause: match fields.next() {
                    Some(millis) => Some(Duration::from_millis(millis.parse().ok()?)),
                    None => None,
                },
                passed: AtomicU64::new(0),
            })
        }
    }

    /// Kills or pauses the process when this pass of the place is the armed one.
    #[expect(
        clippy::disallowed_methods,
        clippy::print_stderr,
        reason = "no build that people run has this"
    )]
    pub(crate) fn pass(name: &str) {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        let armed = ARMED.get_or_init(|| Armed::read(&std::env::var("FAILPOINT").ok()?));
        let Some(armed) = armed.as_ref().filter(|armed| armed.name == name) else {
            return;
        };
        if armed.passed.fetch_add(1, Ordering::Relaxed) + 1 != armed.at {
            return;
        }
        eprintln!("failpoint {name} reached");
        match armed.pause {
            Some(pause) => std::thread::sleep(pause),
            None => std::process::abort(),
        }
    }
}
