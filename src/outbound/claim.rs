//! Whose a request is: claiming its key in the ledger, keeping it through the attempts, writing its
//! end. A call that another life of a bridge left under way is never made again.

use tokio_util::sync::CancellationToken;

use crate::dingtalk::api::LeaveBy;
use crate::message::{Outcome, Timestamp};

use super::desk::{Desk, LetGo, Patience};
use super::ledger::{Done, Found, Ledger, Progress, Publication, Record, State, Written};
use super::receipt::{Cause, Ended, Matter};

/// What a claim found.
#[derive(Debug)]
pub(super) enum Claim {
    /// The request is ours.
    Mine(Hold),
    /// The key belongs to another publication.
    Duplicate,
    /// It ended already; its end may not have been told yet.
    Ended(Box<Done>),
}

/// How a request of ours ended.
#[derive(Debug)]
pub(super) enum End {
    /// As we say.
    Ours(Box<Done>),
    /// As another bridge says, which took it for abandoned.
    Theirs(Box<Done>),
}

impl End {
    /// The end, whoever wrote it.
    pub(super) fn done(self) -> Box<Done> {
        match self {
            Self::Ours(done) | Self::Theirs(done) => done,
        }
    }
}

/// A request that is ours, and how the ledger has it.
#[derive(Debug)]
pub(super) struct Hold {
    key: String,
    publication: Publication,
    revision: u64,
    /// How far it came.
    pub(super) progress: Progress,
}

impl Desk {
    /// Makes the key of a request ours, or finds out whose it is. A call that another life of a
    /// bridge left under way is given its time, then ends as `uncertain`: never sent again.
    pub(super) async fn claim(
        &self,
        matter: &Matter<'_>,
        derived: bool,
        stop: &CancellationToken,
    ) -> Result<Claim, LetGo> {
        let key = Ledger::key(matter.account, matter.id);
        let publication = matter.published.publication;
        let patience = Patience::Until(stop);
        let read = || self.ledger.read(&key);
        // Most keys are new: the write that claims one finds by itself what stands there already.
        let mut found = None;
        loop {
            let (progress, revision) = match found {
                None => (Progress::default(), None),
                Some(Found { record, revision }) => match judge(record, publication, derived) {
                    Judgement::Duplicate => return Ok(Claim::Duplicate),
                    Judgement::Ended(done) => return Ok(Claim::Ended(done)),
                    Judgement::Free(progress) => (progress, Some(revision)),
                    Judgement::UnderWay { since, progress } => {
                        self.give_time(since, stop).await?;
                        found = self.insist(patience, "ledger read", read).await?;
                        if found.as_ref().map(|found| found.revision) != Some(revision) {
                            continue;
                        }
                        if progress.list {
                            // Only this call is in doubt: the other users get theirs.
                            (doubted(progress), Some(revision))
                        } else {
                            let done = Box::new(abandoned(matter, progress));
                            let record = Record {
                                publication,
                                state: State::Done(done.clone()),
                            };
                            match self.write(patience, &key, &record, Some(revision)).await? {
                                Written::Stands(_) => {
                                    self.tell(&done.receipt);
                                    return Ok(Claim::Ended(done));
                                }
                                Written::Overtaken(other) => found = Some(*other),
                            }
                            continue;
                        }
                    }
                },
            };
            let state = State::Pending {
                owner: self.owner.clone(),
                progress: progress.clone(),
            };
            let record = Record { publication, state };
            match self.write(patience, &key, &record, revision).await? {
                Written::Stands(revision) => {
                    return Ok(Claim::Mine(Hold {
                        key,
                        publication,
                        revision,
                        progress,
                    }));
                }
                Written::Overtaken(other) => found = Some(*other),
            }
        }
    }

    async fn give_time(&self, since: Timestamp, stop: &CancellationToken) -> Result<(), LetGo> {
        // Another machine's clock may be off: the wait never exceeds the whole span.
        let span = self.timings.call + self.timings.margin;
        let wait = since.after(span).since(Timestamp::now()).min(span);
        match stop.run_until_cancelled(tokio::time::sleep(wait)).await {
            Some(()) => Ok(()),
            None => Err(LetGo::Stopping),
        }
    }

    /// Writes that nothing is under way.
    pub(super) async fn pending(
        &self,
        hold: &mut Hold,
        patience: Patience<'_>,
    ) -> Result<(), LetGo> {
        let state = State::Pending {
            owner: self.owner.clone(),
            progress: hold.progress.clone(),
        };
        self.note(hold, state, patience).await
    }

    /// Writes that a call is about to leave; nothing leaves before this stands. Until when it may leave: by
    /// then no other life has given it up, see [`Desk::claim`].
    pub(super) async fn sending(
        &self,
        hold: &mut Hold,
        stop: &CancellationToken,
    ) -> Result<LeaveBy, LetGo> {
        loop {
            let (key, publication, revision) = (&hold.key, hold.publication, hold.revision);
            let progress = &hold.progress;
            // The time is that of each try: another life counts from it.
            let step = || async move {
                let leave_by = LeaveBy::within(self.timings.call);
                let state = State::Sending {
                    owner: self.owner.clone(),
                    since: Timestamp::now(),
                    progress: progress.clone(),
                };
                let record = Record { publication, state };
                let written = self.ledger.write(key, &record, Some(revision)).await;
                written.map(|written| (written, leave_by))
            };
            let patience = Patience::Until(stop);
            let (written, leave_by) = self.insist(patience, "ledger write", step).await?;
            match written {
                Written::Stands(revision) => {
                    hold.revision = revision;
                    return Ok(leave_by);
                }
                // An earlier try of ours whose answer was lost: too old to count from.
                Written::Overtaken(found) if self.is_our_send(&found, publication) => {
                    hold.revision = found.revision;
                }
                Written::Overtaken(_) => return Err(LetGo::Overtaken),
            }
        }
    }

    fn is_our_send(&self, found: &Found, ours: Publication) -> bool {
        match &found.record {
            Some(Record {
                publication,
                state: State::Sending { owner, .. },
            }) => *publication == ours && *owner == self.owner,
            _ => false,
        }
    }

    async fn note(
        &self,
        hold: &mut Hold,
        state: State,
        patience: Patience<'_>,
    ) -> Result<(), LetGo> {
        let record = Record {
            publication: hold.publication,
            state,
        };
        let revision = Some(hold.revision);
        match self.write(patience, &hold.key, &record, revision).await? {
            Written::Stands(revision) => {
                hold.revision = revision;
                Ok(())
            }
            Written::Overtaken(_) => Err(LetGo::Overtaken),
        }
    }

    /// Writes the end of a request. When another bridge wrote an end first, that one counts.
    pub(super) async fn finish(&self, hold: &Hold, done: Done) -> Result<End, LetGo> {
        let done = Box::new(done);
        let record = Record {
            publication: hold.publication,
            state: State::Done(done.clone()),
        };
        let revision = Some(hold.revision);
        match self
            .write(Patience::Always, &hold.key, &record, revision)
            .await?
        {
            Written::Stands(_) => {
                self.tell(&done.receipt);
                Ok(End::Ours(done))
            }
            Written::Overtaken(found) => match found.record {
                Some(Record {
                    publication,
                    state: State::Done(other),
                }) if publication == hold.publication => Ok(End::Theirs(other)),
                _ => Err(LetGo::Overtaken),
            },
        }
    }

    async fn write(
        &self,
        patience: Patience<'_>,
        key: &str,
        record: &Record,
        revision: Option<u64>,
    ) -> Result<Written, LetGo> {
        let step = || self.ledger.write(key, record, revision);
        self.insist(patience, "ledger write", step).await
    }
}

/// A list whose call under way is given up; whether it left cannot be told.
fn doubted(mut progress: Progress) -> Progress {
    progress.cost = progress.cost.saturating_add(1);
    progress.doubt();
    progress
}

fn abandoned(matter: &Matter<'_>, mut progress: Progress) -> Done {
    progress.cost = progress.cost.saturating_add(1);
    progress.give_up(Outcome::Uncertain);
    let cause = Cause {
        code: "unknown-outcome".to_owned(),
        message: "the bridge stopped while the call was under way: it may or may not be visible"
            .to_owned(),
        cure: Some("look into the chat before publishing it again under a new id".to_owned()),
    };
    matter.ended(Ended {
        outcome: Outcome::Uncertain,
        progress,
        unsent_users: Vec::new(),
        cause: Some(cause),
    })
}

/// What a found record means for a publication.
#[derive(Debug, PartialEq)]
enum Judgement {
    Duplicate,
    Ended(Box<Done>),
    /// Nothing is under way: whoever wrote it, we go on.
    Free(Progress),
    /// A call may have left.
    UnderWay {
        since: Timestamp,
        progress: Progress,
    },
}

fn judge(record: Option<Record>, publication: Publication, derived: bool) -> Judgement {
    let Some(record) = record else {
        // Written by a bridge that we do not understand: it may have sent.
        return Judgement::UnderWay {
            since: publication.at,
            progress: Progress::default(),
        };
    };
    if record.publication != publication {
        // A key made from a sequence means another message once the stream was made anew.
        return if derived && record.publication.seq == publication.seq {
            Judgement::Free(Progress::default())
        } else {
            Judgement::Duplicate
        };
    }
    match record.state {
        State::Pending { progress, .. } => Judgement::Free(progress),
        State::Sending { progress, .. } if progress.repeatable => Judgement::Free(progress),
        State::Sending {
            since, progress, ..
        } => Judgement::UnderWay { since, progress },
        State::Done(done) => Judgement::Ended(done),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Owner;
    use super::*;

    fn publication(seq: u64) -> Publication {
        Publication {
            seq,
            at: Timestamp::from_millis(1000),
        }
    }

    fn record(seq: u64, state: State) -> Option<Record> {
        let publication = publication(seq);
        Some(Record { publication, state })
    }

    fn pending(part: usize) -> State {
        let progress = Progress {
            part,
            ..Progress::default()
        };
        let owner = Owner::random();
        State::Pending { owner, progress }
    }

    #[test]
    fn what_is_pending_is_taken_over_where_it_stood() {
        let Judgement::Free(progress) = judge(record(4, pending(2)), publication(4), false) else {
            panic!("not free");
        };
        assert_eq!(progress.part, 2);
    }

    #[test]
    fn what_may_have_left_is_never_free() {
        let since = Timestamp::from_millis(5);
        let sending = State::Sending {
            owner: Owner::random(),
            since,
            progress: Progress::default(),
        };
        let progress = Progress::default();
        assert_eq!(
            judge(record(4, sending), publication(4), false),
            Judgement::UnderWay { since, progress }
        );
        assert!(matches!(
            judge(None, publication(4), false),
            Judgement::UnderWay { .. }
        ));
    }

    #[test]
    fn another_publication_under_the_same_key_is_a_duplicate() {
        let found = record(3, pending(0));
        assert_eq!(judge(found, publication(4), false), Judgement::Duplicate);
    }

    #[test]
    fn a_sequence_of_a_stream_that_was_made_anew_is_no_duplicate() {
        let mut found = record(4, pending(3));
        if let Some(record) = &mut found {
            record.publication.at = Timestamp::from_millis(1);
        }
        assert_eq!(
            judge(found.clone(), publication(4), true),
            Judgement::Free(Progress::default())
        );
        assert_eq!(judge(found, publication(4), false), Judgement::Duplicate);
    }
}
