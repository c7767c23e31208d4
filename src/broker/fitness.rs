//! Whether a stream that is there keeps the promises. An operator's limits are respected; what
//! would break a promise is refused with the command that cures it. It asks the broker nothing.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};

use super::error::BrokerError;
use super::streams::{Duty, Plan};

/// Compares what the bridge wants with what it found.
///
/// # Errors
/// [`BrokerError::Unfit`] for the first setting that would break a promise.
pub(super) fn check(plan: &Plan, found: &Config) -> Result<(), BrokerError> {
    let wanted = &plan.config;
    let name = &found.name;
    let edit = |flag: String| format!("nats stream edit {name} {flag}");
    let remake = || {
        format!(
            "it cannot be edited: keep its messages with `nats stream backup {name} <folder>`, remove it with `nats stream rm {name}` and start again"
        )
    };
    let unfit = |setting: &str, found: String, wanted: String, cure: String| {
        Err(BrokerError::Unfit(format!(
            "stream {name}: {setting} is {found}, and {wanted} is needed; {cure}"
        )))
    };
    if found.storage != StorageType::File {
        return unfit("storage", "memory".into(), "file".into(), remake());
    }
    if found.retention != wanted.retention {
        let [found, wanted] = [found.retention, wanted.retention].map(retention);
        return unfit("retention", found.into(), wanted.into(), remake());
    }
    if found.no_ack {
        return unfit("ack", "off".into(), "on".into(), edit("--ack".into()));
    }
    if found.sealed {
        return unfit("sealed", "true".into(), "false".into(), remake());
    }
    if let Some((setting, is, cure)) = limit_of_one(found) {
        return unfit(setting, is, "none".into(), edit(cure.into()));
    }
    if let Some(missing) = missing_subject(wanted, found) {
        let all = wanted.subjects.join(",");
        let cure = edit(format!("--subjects='{all}'"));
        return unfit(
            "subjects",
            format!("{:?}", found.subjects),
            format!("`{missing}`"),
            cure,
        );
    }
    match plan.duty {
        Duty::Kept => Ok(()),
        Duty::Deduplicated if found.duplicate_window < wanted.duplicate_window => {
            let [is, needed] = [found, wanted].map(|config| seconds(config.duplicate_window));
            let cure = edit(format!("--dupe-window={needed}"));
            let cure = format!("{cure}, or lower nats.dedup_window");
            unfit("duplicate window", is, needed, cure)
        }
        Duty::Deduplicated => Ok(()),
        Duty::Queue if found.discard != DiscardPolicy::New => unfit(
            "discard",
            "old".into(),
            "new".into(),
            edit("--discard=new".into()),
        ),
        Duty::Queue if found.deny_delete => {
            unfit("deny delete", "true".into(), "false".into(), remake())
        }
        Duty::Queue => Ok(()),
        Duty::Bucket if !found.allow_message_ttl => {
            let cure = edit("--allow-msg-ttl".into());
            unfit("per-message TTL", "off".into(), "on".into(), cure)
        }
        Duty::Bucket if !found.allow_direct => unfit(
            "direct get",
            "off".into(),
            "on".into(),
            edit("--allow-direct".into()),
        ),
        Duty::Bucket => Ok(()),
    }
}

/// A limit that one message may meet while there is room for all others: what stands behind it would
/// wait for it without end. Its name, its value and the flag that lifts it.
fn limit_of_one(found: &Config) -> Option<(&'static str, String, &'static str)> {
    if found.max_message_size > 0 {
        let is = format!("{} bytes", found.max_message_size);
        return Some(("largest message", is, "--max-msg-size=-1"));
    }
    let per_subject = found.max_messages_per_subject;
    found.discard_new_per_subject.then(|| {
        let is = format!("{per_subject} messages, and more are refused");
        ("limit of each subject", is, "--no-discard-per-subject")
    })
}

fn missing_subject<'a>(wanted: &'a Config, found: &Config) -> Option<&'a String> {
    let taken = |subject: &&String| !found.subjects.iter().any(|filter| covers(filter, subject));
    wanted.subjects.iter().find(taken)
}

/// Whether `filter` takes every subject that `subject`, which may hold wildcards itself, stands for.
pub(super) fn covers(filter: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    let mut filters = filter.split('.');
    loop {
        match (filters.next(), tokens.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(token)) if token != ">" => {}
            (Some(filter), Some(token)) if filter == token => {}
            _ => return false,
        }
    }
}

fn retention(policy: RetentionPolicy) -> &'static str {
    match policy {
        RetentionPolicy::Limits => "limits",
        RetentionPolicy::Interest => "interest",
        RetentionPolicy::WorkQueue => "workqueue",
    }
}

fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(duty: Duty) -> Plan {
        let config = Config {
            name: "S".into(),
            subjects: vec!["d.out".into(), "d.out.>".into()],
            storage: StorageType::File,
            duplicate_window: Duration::from_secs(1800),
            discard: DiscardPolicy::New,
            allow_direct: true,
            allow_message_ttl: true,
            ..Config::default()
        };
        Plan { config, duty }
    }

    fn refusal(duty: Duty, change: impl FnOnce(&mut Config)) -> String {
        let plan = plan(duty);
        let mut found = plan.config.clone();
        change(&mut found);
        check(&plan, &found).unwrap_err().to_string()
    }

    #[test]
    fn an_operators_limits_are_respected() {
        for duty in [Duty::Kept, Duty::Deduplicated, Duty::Queue, Duty::Bucket] {
            let plan = plan(duty);
            let mut found = plan.config.clone();
            found.max_bytes = 1000;
            found.max_messages = 10;
            // As the server tells that there is none.
            found.max_message_size = -1;
            found.num_replicas = 3;
            found.duplicate_window = Duration::from_secs(3600);
            found.subjects = vec!["d.>".into(), "d.out".into()];
            assert!(check(&plan, &found).is_ok(), "{duty:?}");
        }
    }

    #[test]
    fn what_breaks_a_promise_is_refused_with_its_cure() {
        let memory = refusal(Duty::Kept, |found| found.storage = StorageType::Memory);
        assert!(memory.contains("storage is memory") && memory.contains("nats stream rm S"));
        let short = |found: &mut Config| found.duplicate_window = Duration::from_secs(120);
        let short = refusal(Duty::Deduplicated, short);
        assert!(short.contains("is 120s, and 1800s is needed"), "{short}");
        assert!(
            short.contains("nats stream edit S --dupe-window=1800s"),
            "{short}"
        );
        let old = refusal(Duty::Queue, |found| found.discard = DiscardPolicy::Old);
        assert!(old.contains("nats stream edit S --discard=new"), "{old}");
        let policy = |found: &mut Config| found.retention = RetentionPolicy::Interest;
        assert!(refusal(Duty::Kept, policy).contains("retention is interest"));
        let subjects = refusal(Duty::Kept, |found| found.subjects = vec!["d.out.>".into()]);
        assert!(
            subjects.contains("--subjects='d.out,d.out.>'"),
            "{subjects}"
        );
        assert!(refusal(Duty::Kept, |found| found.no_ack = true).contains("--ack"));
        let ttl = refusal(Duty::Bucket, |found| found.allow_message_ttl = false);
        assert!(ttl.contains("--allow-msg-ttl"), "{ttl}");
    }

    #[test]
    fn a_limit_that_one_message_may_meet_alone_is_refused_with_its_cure() {
        for duty in [Duty::Kept, Duty::Deduplicated, Duty::Queue, Duty::Bucket] {
            let size = refusal(duty, |found| found.max_message_size = 65_536);
            assert!(size.contains("largest message is 65536 bytes"), "{size}");
            assert!(size.contains("edit S --max-msg-size=-1"), "{size}");
            let each = refusal(duty, |found| {
                found.max_messages_per_subject = 10;
                found.discard_new_per_subject = true;
            });
            assert!(each.contains("limit of each subject is 10"), "{each}");
            assert!(each.contains("edit S --no-discard-per-subject"), "{each}");
        }
    }

    #[test]
    fn a_filter_covers_what_it_takes_and_nothing_else() {
        for (filter, subject) in [
            ("a.>", "a.b"),
            ("a.*", "a.b"),
            (">", "a"),
            ("a.>", "a.*.c"),
            ("a", "a"),
        ] {
            assert!(covers(filter, subject), "{filter} {subject}");
        }
        for (filter, subject) in [
            ("a.>", "a"),
            ("a.*", "a.b.c"),
            ("a.*", "a.>"),
            ("a.b", "a"),
            ("a", "a.b"),
        ] {
            assert!(!covers(filter, subject), "{filter} {subject}");
        }
    }
}
