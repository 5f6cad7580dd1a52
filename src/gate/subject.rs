//! Which certificates a row of the grants is for: a pattern, and the kind of names that it is for.

use crate::domain::{CertificateName, NameKind, Pattern, has_scheme};

/// The words that a pattern may have before it, and what they stand for.
const KINDS: [(&str, NameKind); 4] =
    [("cn:", NameKind::Common), ("dns:", NameKind::Dns), ("uri:", NameKind::Uri), ("email:", NameKind::Email)];

/// A set of names in certificates. `*` stands for any text, `?` for any character.
#[derive(Debug)]
pub(super) struct Subject {
    kind: Kind,
    pattern: Pattern,
}

/// The names that a pattern is compared with.
#[derive(Debug)]
enum Kind {
    /// The names of one kind.
    Of(NameKind),
    /// All: the pattern is `*`, and stands for whoever has a certificate.
    All,
    /// It does not say, and has an `@`: e-mail addresses, and common names of that form.
    Mailboxes,
    /// It does not say: DNS names, and common names that are of no other form.
    Plain,
}

impl Subject {
    /// Reads a pattern. One that does not say its kind is for those that it looks like, so that no name of another kind passes
    /// for one of them.
    pub(super) fn new(text: &str) -> Self {
        let named = KINDS.iter().find_map(|(word, kind)| Some((*kind, text.strip_prefix(word)?)));
        let (kind, pattern) = match named {
            Some((kind, pattern)) => (Kind::Of(kind), pattern),
            None if has_scheme(text) => (Kind::Of(NameKind::Uri), text),
            None if text.contains('@') => (Kind::Mailboxes, text),
            None if !text.is_empty() && text.chars().all(|c| c == '*') => (Kind::All, text),
            None => (Kind::Plain, text),
        };
        Self { kind, pattern: Pattern::by_characters(pattern) }
    }

    /// Whether it is for `name`.
    pub(super) fn fits(&self, name: &CertificateName) -> bool {
        let is_common = name.kind == NameKind::Common && !has_scheme(&name.text);
        let is_mailbox = name.text.contains('@');
        let of_kind = match self.kind {
            Kind::Of(kind) => name.kind == kind,
            Kind::All => true,
            Kind::Mailboxes => name.kind == NameKind::Email || is_common && is_mailbox,
            Kind::Plain => name.kind == NameKind::Dns || is_common && !is_mailbox,
        };
        of_kind && self.pattern.matches(&name.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kinds of the names with this text that a pattern fits: of common, DNS, URI and e-mail.
    fn fitted(pattern: &str, text: &str) -> String {
        let subject = Subject::new(pattern);
        let fits = |kind| subject.fits(&CertificateName { kind, text: text.into() });
        KINDS.iter().filter(|(_, kind)| fits(*kind)).map(|(word, _)| *word).collect()
    }

    #[test]
    fn a_pattern_fits_names_of_its_kind_only() {
        let table = [
            ("spiffe://exposia/admin", "spiffe://exposia/admin", "uri:"),
            ("uri:spiffe://exposia/*", "spiffe://exposia/admin", "uri:"),
            ("cn:spiffe://exposia/admin", "spiffe://exposia/admin", "cn:"),
            ("urn:exposia:*", "urn:exposia:php", "uri:"),
            ("*://exposia/php", "spiffe://exposia/php", "uri:"),
            ("presentaciones-php", "presentaciones-php", "cn:dns:"),
            ("pedidos-*", "pedidos-1", "cn:dns:"),
            ("*.example.com", "a.b.example.com", "cn:dns:"),
            ("*.example.com", "mallory@a.example.com", "dns:"),
            ("*.example.com", "https://evil/a.example.com", "dns:"),
            ("dns:*.example.com", "a.example.com", "dns:"),
            ("cn:*.example.com", "a.example.com", "cn:"),
            ("luz@example.com", "luz@example.com", "cn:email:"),
            ("*@example.com", "luz@example.com", "cn:email:"),
            ("email:luz@example.com", "luz@example.com", "email:"),
            ("*", "whatever", "cn:dns:uri:email:"),
            ("*", "spiffe://exposia/admin", "cn:dns:uri:email:"),
            ("cn:*", "whatever", "cn:"),
            ("dns:a", "b", ""),
            ("dns:", "dns:", ""),
            ("", "a", ""),
        ];
        for (pattern, text, kinds) in table {
            assert_eq!(fitted(pattern, text), kinds, "{pattern} of {text}");
        }
    }
}
