//! What the replicas of the bridge share: who is there, how fast an account may call, and what the
//! month has cost. DingTalk counts all replicas as one, so they have to.
