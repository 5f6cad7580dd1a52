//! Reading PEM files (RFC 7468), so that nothing in them is passed over in silence: where a BEGIN line is mistyped, or hidden behind
//! a byte order mark, the file is refused with the number of that line. Text between the blocks is for people.

use std::{
    fmt, fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
    pem::{Error, PemObject},
};

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// It is not there, or not for this process.
    #[error("{0} cannot be read: {1}")]
    Unreadable(PathBuf, io::Error),
    /// It has no certificate in it.
    #[error("{0} has no certificate in PEM in it; it must have `-----BEGIN CERTIFICATE-----`")]
    NoCertificate(PathBuf),
    /// It has no private key in it.
    #[error(
        "{0} has no private key in PEM in it; it must have `-----BEGIN PRIVATE KEY-----`, without a passphrase: \
         `openssl pkey` makes one of another form"
    )]
    NoKey(PathBuf),
    /// It has no list of revoked certificates in it.
    #[error(
        "{0} has no list of revoked certificates in PEM in it; it must have `-----BEGIN X509 CRL-----`: \
         `openssl crl -inform der` makes one of another form"
    )]
    NoList(PathBuf),
    /// It is broken, in the line of this number.
    #[error("{0} is no good PEM: line {1}: {2}")]
    Malformed(PathBuf, usize, PemFault),
}

/// What is wrong with a line of a PEM file. It tells nothing of the line but labels, for the file may have a key in it.
#[derive(Debug, PartialEq, Eq)]
pub enum PemFault {
    /// What begins there is hidden from whoever reads it.
    ByteOrderMark,
    /// The file is not in UTF-8.
    Utf16,
    /// It is not what it is meant to be.
    Boundary,
    /// A block ends that did not begin.
    NotBegun,
    /// A block of this label, which began in the line of this number, does not end as it should.
    NotEnded(String, usize),
    /// A block has a label that says nothing here.
    Unknown(String),
    /// A block cannot be decoded.
    Block(String),
}

impl fmt::Display for PemFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByteOrderMark => {
                f.write_str("a byte order mark hides the BEGIN line; save the file as UTF-8 without one")
            }
            Self::Utf16 => f.write_str("the file is in UTF-16; save it as UTF-8 without a byte order mark"),
            Self::Boundary => f.write_str(
                "no block begins here as it should; a BEGIN line is like `-----BEGIN CERTIFICATE-----`, with five hyphens \
                 on either side, and alone on its line",
            ),
            Self::NotBegun => f.write_str("something ends here that no BEGIN line begins"),
            Self::NotEnded(label, line) => {
                write!(f, "what begins in line {line} must end with `-----END {label}-----`, alone on its line")
            }
            Self::Unknown(label) => write!(
                f,
                "`{label}` is nothing that can be used here; a certificate is `-----BEGIN CERTIFICATE-----`: `openssl x509` \
                 makes one of another form"
            ),
            Self::Block(error) => write!(f, "what begins here cannot be decoded: {error}"),
        }
    }
}

/// The labels of what may be in a file, whether it is asked for or not: one file may be named by several settings.
const LABELS: [&str; 18] = [
    CERTIFICATE,
    LIST,
    "PRIVATE KEY",
    "RSA PRIVATE KEY",
    "EC PRIVATE KEY",
    "DSA PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
    "OPENSSH PRIVATE KEY",
    "ANY PRIVATE KEY",
    "PUBLIC KEY",
    "RSA PUBLIC KEY",
    "EC PARAMETERS",
    "DSA PARAMETERS",
    "DH PARAMETERS",
    "X9.42 DH PARAMETERS",
    "CERTIFICATE REQUEST",
    "NEW CERTIFICATE REQUEST",
    "ECHCONFIG",
];

const CERTIFICATE: &str = "CERTIFICATE";
const LIST: &str = "X509 CRL";

/// The contents of a PEM file.
#[derive(Debug)]
pub struct Pem {
    path: PathBuf,
    text: Vec<u8>,
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    label: &'static str,
    /// The number of the BEGIN line.
    line: usize,
    /// Where in the text it is, from its BEGIN to its END.
    place: Range<usize>,
}

impl Pem {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or a line of it is none that PEM has there.
    pub fn read(path: &Path) -> Result<Self, PemError> {
        let text = fs::read(path).map_err(|error| PemError::Unreadable(path.into(), error))?;
        let blocks = blocks(&text).map_err(|(line, fault)| PemError::Malformed(path.into(), line, fault))?;
        Ok(Self { path: path.into(), text, blocks })
    }

    /// The certificates, in their order.
    ///
    /// # Errors
    ///
    /// When there is none, or one cannot be decoded.
    pub fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, PemError> {
        let certificates = self.all(CERTIFICATE)?;
        if certificates.is_empty() { Err(PemError::NoCertificate(self.path.clone())) } else { Ok(certificates) }
    }

    /// The lists of revoked certificates, of which there may be none.
    ///
    /// # Errors
    ///
    /// When one cannot be decoded.
    pub fn lists(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, PemError> {
        self.all(LIST)
    }

    /// The first private key.
    ///
    /// # Errors
    ///
    /// When there is none without a passphrase, or it cannot be decoded.
    pub fn private_key(&self) -> Result<PrivateKeyDer<'static>, PemError> {
        let readable = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"];
        let block = self.blocks.iter().find(|block| readable.contains(&block.label));
        block.map_or_else(|| Err(PemError::NoKey(self.path.clone())), |block| self.decoded(block))
    }

    /// Makes the error that there is no list.
    pub fn no_list(&self) -> PemError {
        PemError::NoList(self.path.clone())
    }

    fn all<T: PemObject>(&self, label: &str) -> Result<Vec<T>, PemError> {
        self.blocks.iter().filter(|block| block.label == label).map(|block| self.decoded(block)).collect()
    }

    fn decoded<T: PemObject>(&self, block: &Block) -> Result<T, PemError> {
        T::from_pem_slice(&self.text[block.place.clone()]).map_err(|error| {
            let error = match error {
                Error::Base64Decode(error) => error,
                // What it says may have a line of the file in it.
                _ => "it is no block".to_owned(),
            };
            PemError::Malformed(self.path.clone(), block.line, PemFault::Block(error))
        })
    }
}

/// What lines begin with that begin and end a block.
const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";

/// What may come before the first character of a file.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// The blocks in a text; or the number of the first line that is wrong, and what is wrong with it.
fn blocks(text: &[u8]) -> Result<Vec<Block>, (usize, PemFault)> {
    if text.starts_with(&[0xff, 0xfe]) || text.starts_with(&[0xfe, 0xff]) {
        return Err((1, PemFault::Utf16));
    }
    let mut blocks = Vec::new();
    let mut open: Option<(&'static str, usize, usize)> = None;
    // The last line outside of a block that had something in it: what must be a BEGIN line when the inside of a block follows.
    let mut before = None;
    for (number, place) in lines(text) {
        let line = String::from_utf8_lossy(&text[place.clone()]);
        match open {
            None => {
                open = begun(&line, number, before)?.map(|label| (label, number, place.start));
                if !line.trim().is_empty() {
                    before = Some((number, line.contains(is_hyphen)));
                }
            }
            Some((label, line_begun, start)) if is_end(&line, label) => {
                blocks.push(Block { label, line: line_begun, place: start..place.end });
                (open, before) = (None, None);
            }
            Some((label, line_begun, _)) if line.trim_start().starts_with(is_hyphen) => {
                return Err((number, PemFault::NotEnded(label.to_owned(), line_begun)));
            }
            Some(_) => {}
        }
    }
    match open {
        Some((label, line, _)) => Err((line, PemFault::NotEnded(label.to_owned(), line))),
        None => Ok(blocks),
    }
}

/// The lines of a text, each with its number and its place.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, Range<usize>)> {
    let (mut number, mut start) = (0, 0);
    std::iter::from_fn(move || {
        let rest = text.get(start..).filter(|rest| !rest.is_empty())?;
        let length = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
        let place = start..start + length;
        let is_pair = rest[length..].starts_with(b"\r\n");
        (number, start) = (number + 1, place.end + if is_pair { 2 } else { 1 });
        Some((number, place))
    })
}

/// The label of the block that a line outside of blocks begins, if it begins one. `before` is the last line that had something
/// in it, and whether there was a hyphen.
fn begun(line: &str, number: usize, before: Option<(usize, bool)>) -> Result<Option<&'static str>, (usize, PemFault)> {
    if let Some(label) = label(line) {
        let known = LABELS.into_iter().find(|known| *known == label);
        return known.map(Some).ok_or_else(|| (number, PemFault::Unknown(label.to_owned())));
    }
    let bare = line.trim_start();
    if let Some(hidden) = bare.strip_prefix(BYTE_ORDER_MARK).filter(|hidden| hidden.starts_with(BEGIN)) {
        return Err((number, label(hidden).map_or(PemFault::Boundary, |_| PemFault::ByteOrderMark)));
    }
    if bare.starts_with(BEGIN) {
        return Err((number, PemFault::Boundary));
    }
    if is_inside(line) {
        let mistyped = before.filter(|(_, has_hyphen)| *has_hyphen).map(|(number, _)| number);
        return Err((mistyped.unwrap_or(number), PemFault::Boundary));
    }
    if bare.starts_with(END) { Err((number, PemFault::NotBegun)) } else { Ok(None) }
}

/// The label in a line that begins a block.
fn label(line: &str) -> Option<&str> {
    let label = line.strip_prefix(BEGIN)?.trim_end().strip_suffix("-----")?;
    let is_label = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '.');
    (label.len() <= 40 && label.chars().all(is_label)).then_some(label)
}

fn is_end(line: &str, label: &str) -> bool {
    line.strip_prefix(END).and_then(|rest| rest.strip_prefix(label)).is_some_and(|rest| rest.trim_end() == "-----")
}

/// Whether a line is what stands inside of a block: base64, and more of it than a word has. A fingerprint is none.
fn is_inside(line: &str) -> bool {
    let line = line.trim();
    line.len() >= 40
        && line.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '='))
        && !line.chars().all(|c| c.is_ascii_hexdigit())
}

/// Whether it is a hyphen, or what a word processor makes of one.
fn is_hyphen(c: char) -> bool {
    c == '-' || ('\u{2010}'..='\u{2015}').contains(&c) || c == '\u{2212}'
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "MIIBszCCAVmgAwIBAgIUQ0FGRTAxMjM0NTY3ODkwYWJjZGVmZ2hpamtsbW4wCgYI\n";

    fn block(begin: &str, end: &str) -> String {
        format!("{begin}\n{BODY}{end}\n")
    }

    fn good() -> String {
        block("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----")
    }

    fn found(text: &str) -> Result<usize, (usize, PemFault)> {
        blocks(text.as_bytes()).map(|blocks| blocks.len())
    }

    #[test]
    fn text_between_blocks_is_for_people() {
        let texts = [
            format!("Certificate:\n    Data:\n        Version: 3 (0x2)\n---\nBag Attributes: <none>\n\n{}", good()),
            format!("# -----BEGIN CERTIFICATE-----\n# {BODY}# -----END CERTIFICATE-----\n{}", good()),
            format!("--- root, until 2030 ---\n\n{}", good()),
            format!("\u{feff}# a comment\r\n{}", good().replace('\n', "\r\n")),
            format!("{}\n{}", "0123456789abcdef".repeat(4), good().replace("-----\n", "-----  \n")),
            good().replace('\n', "\r"),
            good().trim_end().to_owned(),
        ];
        for text in texts {
            assert_eq!(found(&text), Ok(1), "{text}");
        }
        assert_eq!(found(&format!("{}{}", good(), good())), Ok(2));
        assert_eq!(found(""), Ok(0));
    }

    #[test]
    fn what_would_be_dropped_is_told_with_its_line() {
        let (begin, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");
        let not_ended = || PemFault::NotEnded("CERTIFICATE".to_owned(), 4);
        let cases = [
            (block("\u{feff}-----BEGIN CERTIFICATE-----", end), 4, PemFault::ByteOrderMark),
            (block("----BEGIN CERTIFICATE-----", end), 4, PemFault::Boundary),
            (block("-----BEGN CERTIFICATE-----", end), 4, PemFault::Boundary),
            (block("-----begin certificate-----", end), 4, PemFault::Boundary),
            (block("-----BEGIN CERTIFICATE----", end), 4, PemFault::Boundary),
            (block(" -----BEGIN CERTIFICATE-----", end), 4, PemFault::Boundary),
            (block("—–BEGIN CERTIFICATE—–", "—–END CERTIFICATE—–"), 4, PemFault::Boundary),
            (block("-----BEGIN CERTIFCATE-----", end), 4, PemFault::Unknown("CERTIFCATE".to_owned())),
            (block("-----BEGIN TRUSTED CERTIFICATE-----", end), 4, PemFault::Unknown("TRUSTED CERTIFICATE".to_owned())),
            (block("my certificate", end), 5, PemFault::Boundary),
            (format!("{end}\n"), 4, PemFault::NotBegun),
            (block(begin, "----END CERTIFICATE-----"), 6, not_ended()),
            (block(begin, "-----END CERTIFICAT-----"), 6, not_ended()),
            (block(begin, ""), 4, not_ended()),
            (format!("{begin}MIIB{end}\n"), 4, PemFault::Boundary),
        ];
        for (text, line, fault) in cases {
            assert_eq!(found(&format!("{}{text}", good())), Err((line, fault)), "{text}");
        }
        assert_eq!(blocks(b"\xff\xfe-\0").err(), Some((1, PemFault::Utf16)));
        // The next begins before it has ended.
        assert_eq!(
            found(&format!("{begin}\n{BODY}{}", good())),
            Err((3, PemFault::NotEnded("CERTIFICATE".to_owned(), 1)))
        );
    }
}
