//! Section 8.1: text is UTF-8, however it is cut.

use super::{
    Bench, Case, chat,
    frame::{BINARY, FIN, TEXT, fragments, masked},
    message,
};

/// Both ends of every length that a character may have, of the gap of the surrogates, and what lies between.
const VALID: &[&str] = &[
    "\u{7f}",
    "\u{80}",
    "\u{7ff}",
    "\u{800}",
    "\u{fff}",
    "\u{1000}",
    "\u{d7ff}",
    "\u{e000}",
    "\u{fffd}",
    "\u{ffff}",
    "\u{10000}",
    "\u{3ffff}",
    "\u{40000}",
    "\u{10ffff}",
    "ñandú κόσμε 日本語 🦜",
];

/// What no UTF-8 has in it.
const INVALID: &[(&str, &[u8])] = &[
    ("a continuation alone", b"\x80"),
    ("the last continuation alone", b"\xbf"),
    ("a continuation too many", b"\xc3\xb1\x80"),
    ("two bytes for what needs one", b"\xc0\x80"),
    ("the last of those", b"\xc1\xbf"),
    ("three bytes for what needs two", b"\xe0\x80\x80"),
    ("the last of those", b"\xe0\x9f\xbf"),
    ("four bytes for what needs three", b"\xf0\x80\x80\x80"),
    ("the last of those", b"\xf0\x8f\xbf\xbf"),
    ("the first surrogate", b"\xed\xa0\x80"),
    ("the last surrogate", b"\xed\xbf\xbf"),
    ("a pair of surrogates", b"\xed\xa0\x80\xed\xb0\x80"),
    ("one above the last character", b"\xf4\x90\x80\x80"),
    ("a first byte that does not exist", b"\xf5\x80\x80\x80"),
    ("five bytes", b"\xf8\x88\x80\x80\x80"),
    ("six bytes", b"\xfc\x84\x80\x80\x80\x80"),
    ("fe", b"\xfe"),
    ("ff", b"\xff"),
    ("a character of two that breaks off", b"\xc3a"),
    ("a character of three that breaks off", b"\xe6\x97a"),
    ("a character of four that breaks off", b"\xf0\x9f\xa6a"),
];

/// What may not be the end of a text.
const UNFINISHED: &[&[u8]] = &[b"\xc3", b"\xe6", b"\xe6\x97", b"\xf0", b"\xf0\x9f", b"\xf0\x9f\xa6"];

// RFC 6455, 5.6 and 8.1: a fragment need not end where a character does
#[tokio::test]
async fn valid_text_is_read_wherever_it_is_cut() {
    let mut bench = Bench::start().await;
    for said in VALID {
        let content = chat(said);
        let around = content.len() - said.len() - 3..content.len();
        let mut raw = bench.client_in("general").await;
        for cut in around {
            eprintln!("{said:?}, cut after {cut}");
            let (first, rest) = content.split_at(cut);
            raw.write(&fragments(TEXT, &[first, rest]).concat()).await;
            assert_eq!(bench.bystander.next_of_type("chat_message").await["message"], *said);
        }
        let bytes: Vec<_> = content.chunks(1).collect();
        raw.write(&fragments(TEXT, &bytes).concat()).await;
        assert_eq!(bench.bystander.next_of_type("chat_message").await["message"], *said);
    }
}

/// Sends `content` as one frame, and as two, cut before, within and after what begins at `from`.
async fn refused(bench: &mut Bench, what: &str, content: &[u8], from: usize) {
    bench.check(Case::closes(what, masked(FIN | TEXT, content), 1007)).await;
    for cut in from..=content.len() {
        let (first, rest) = content.split_at(cut);
        let sends = fragments(TEXT, &[first, rest]).concat();
        bench.check(Case::closes(format!("{what}, cut after {cut}"), sends, 1007)).await;
    }
    let bytes: Vec<_> = content.chunks(1).collect();
    bench.check(Case::closes(format!("{what}, byte by byte"), fragments(TEXT, &bytes).concat(), 1007)).await;
}

// RFC 6455, 8.1: "When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte stream is not, in fact, a
// valid UTF-8 stream, that endpoint MUST Fail the WebSocket Connection", with 1007
#[tokio::test]
async fn invalid_text_closes_with_1007_wherever_it_is_cut() {
    let mut bench = Bench::start().await;
    for (what, invalid) in INVALID {
        refused(&mut bench, what, &[b"hola ", *invalid, b" ana"].concat(), 5).await;
        refused(&mut bench, what, invalid, 0).await;
    }
    for unfinished in UNFINISHED {
        refused(&mut bench, &format!("{unfinished:x?} at the end"), &[b"hola ", *unfinished].concat(), 5).await;
    }
}

// RFC 6455, 5.6: a binary message may be anything; here one that is no text is answered like any that is no JSON
#[tokio::test]
async fn a_binary_message_need_not_be_text() {
    let mut bench = Bench::start().await;
    for (what, invalid) in INVALID {
        bench.check(Case::new(*what, masked(FIN | BINARY, invalid), [message("error")])).await;
    }
}
