//! The verbs of `<prefix>.api.>`: questions and small deeds over NATS request/reply, as a micro
//! service that `nats micro` discovers.
