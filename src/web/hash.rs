//! A password's bcrypt hash, as `htpasswd -B` writes it.

use std::{fmt, str::FromStr};

use bcrypt::HashParts;

/// The highest cost: at 2^16 rounds a guess keeps a processor of the room busy for seconds already.
const MOST_COST: u32 = 16;
/// The lowest cost there is.
const LEAST_COST: u32 = 4;

/// A hash that bcrypt understands. Its text is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Hash {
    text: String,
    cost: u32,
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash(…)")
    }
}

impl Hash {
    /// Reads one.
    ///
    /// # Errors
    /// What was found and what would be right, without the text: it may be a password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let begins = ["$2a$", "$2b$", "$2y$"].iter().any(|version| text.starts_with(version));
        let expected = "expected a bcrypt hash, such as $2y$10$…";
        if !begins {
            return Err(format!("no hash, maybe the password itself, {expected}"));
        }
        let parts = HashParts::from_str(text).map_err(|_| format!("a damaged hash, {expected} with 60 characters"))?;
        let cost = parts.get_cost();
        if !(LEAST_COST..=MOST_COST).contains(&cost) {
            return Err(format!("a hash of cost {cost}, expected a cost from {LEAST_COST} to {MOST_COST}"));
        }
        Ok(Self { text: text.to_owned(), cost })
    }

    /// Two to the power of this are the rounds that a comparison takes.
    pub(super) fn cost(&self) -> u32 {
        self.cost
    }

    /// The text, to be hashed itself.
    pub(super) fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// Whether this is the hash of a password. Takes from a millisecond to seconds, by the cost; how long does not
    /// depend on the password.
    pub(super) fn is_of(&self, password: &[u8]) -> bool {
        bcrypt::verify(password, &self.text).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_hash_by_htpasswd_is_that_of_its_password_and_of_no_other() {
        // htpasswd -nbBC 5 "" wachtwoord
        let hash = Hash::parse("$2y$05$3uLsJE1UWUn7NKcSJjqKAubPJ5YCRjxIGXlzMs.4gr9rOSqf/G/oq").unwrap();
        assert_eq!(hash.cost(), 5);
        assert!(hash.is_of(b"wachtwoord"));
        for other in ["wachtwoorD", "wachtwoor", "wachtwoord\0", "", "wachtwoordwachtwoord"] {
            assert!(!hash.is_of(other.as_bytes()), "{other:?}");
        }
        // Longer passwords are cut by bcrypt itself, at 72 bytes.
        let long = bcrypt::hash("x".repeat(80), 4).unwrap();
        assert!(Hash::parse(&long).unwrap().is_of(&[b'x'; 72]));
    }

    #[test]
    fn what_is_no_hash_is_refused_and_never_repeated() {
        let good = bcrypt::hash("a password", 4).unwrap();
        let with = |from: &str, to: &str| good.replacen(from, to, 1);
        for (text, found) in [
            ("s3cret".to_owned(), "maybe the password itself"),
            (String::new(), "maybe the password itself"),
            ("$1$abcdefgh$0123456789".to_owned(), "maybe the password itself"),
            (good[..59].to_owned(), "a damaged hash"),
            (format!("{good}x"), "a damaged hash"),
            (with("$04$", "$xx$"), "a damaged hash"),
            (with("$04$", "$31$"), "cost 31, expected a cost from 4 to 16"),
            (with("$04$", "$03$"), "cost 3, expected a cost from 4 to 16"),
            ("$2y$10$äöü€äöü€äöü€äöü€äöü€äöü€äöü€äöü€äöü€".to_owned(), "a damaged hash"),
        ] {
            let message = Hash::parse(&text).unwrap_err();
            assert!(message.contains(found), "{text:?}: {message}");
            assert!(text.is_empty() || !message.contains(&text), "{message}");
        }
        assert_eq!(format!("{:?}", Hash::parse(&good).unwrap()), "Hash(…)");
    }
}
