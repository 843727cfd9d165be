//! Starting, keeping and killing processes.
#![allow(unsafe_code, reason = "fork, prctl and friends have no safe form; nowhere else is it allowed")]
