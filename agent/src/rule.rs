//! Rules: how one metric is judged.

/// All rules of a config.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {}
