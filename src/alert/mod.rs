//! From what happens to what a person hears of it. It follows the journal and writes nothing that others read:
//! whether a message arrives changes no run, ticket or slot.

pub mod telegram;
