//! Hostile input through the front door: what DingTalk, a service or a stranger with a broker login
//! could send to break the bridge, and what comes of it.

mod headers;
mod permissions;
mod values;
