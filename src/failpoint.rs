//! Named places on the way of a frame and of a request where a chaos run kills or stops the process.
//! Only a build with the feature `failpoints` has them; in every other build `failpoint!` is nothing.
//!
//! `FAILPOINT=<name>:<pass>` kills the process at that pass of the place, without a goodbye and
//! without flushing anything. With a third field the process gets that signal there instead:
//! `FAILPOINT=<name>:<pass>:STOP` or `:TERM`.

/// A place with a name, for a chaos run to stop at.
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        $crate::failpoint::pass($name);
    };
}

#[cfg(all(feature = "failpoints", not(debug_assertions)))]
compile_error!("fail points are for debug builds: no release carries them");

#[cfg(feature = "failpoints")]
pub(crate) use armed::pass;

#[cfg(feature = "failpoints")]
mod armed {
    use std::process::Command;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// What is armed, and how often its place was passed.
    struct Armed {
        name: String,
        at: u64,
        signal: Option<String>,
        passed: AtomicU64,
    }

    impl Armed {
        fn read(text: &str) -> Option<Self> {
            let mut fields = text.split(':');
            Some(Self {
                name: fields.next()?.to_owned(),
                at: fields.next()?.parse().ok()?,
                signal: fields.next().map(str::to_owned),
                passed: AtomicU64::new(0),
            })
        }
    }

    /// Kills or signals the process when this pass of the place is the armed one.
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
        let Some(signal) = &armed.signal else {
            std::process::abort();
        };
        // The step goes on when `kill` has ended: after a stop, when somebody lets the process go on.
        let process = std::process::id().to_string();
        let sent = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(process)
            .status();
        if !sent.is_ok_and(|status| status.success()) {
            std::process::abort();
        }
    }
}
