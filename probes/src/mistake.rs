//! Mistakes in a part's config, collected so that all of them are reported at once.

/// One mistake: where in the part's own table, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Key path below the part's table, such as `components.bbb.file`; empty for the table itself.
    pub key: String,
    /// What was found and what would be right, in one line.
    pub message: String,
}

impl Mistake {
    /// A mistake at `key`.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }

    /// The same mistake seen from a table above: `prefix` goes before its key.
    #[must_use]
    pub fn below(self, prefix: &str) -> Self {
        let key = if self.key.is_empty() { prefix.to_owned() } else { format!("{prefix}.{}", self.key) };
        Self { key, ..self }
    }
}
