//! JSON over HTTP on the control socket: the wire types, one file a resource, and the listeners.

pub mod wire;
