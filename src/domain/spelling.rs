//! Finds the word that somebody mistyped meant.

/// From so many characters on a word has hardly a neighbour that is a word of its own.
const LONG: usize = 5;

/// Whether `typed` is `word` with one character too many, too few, another, or two neighbours swapped; the word itself is not. A short
/// word must have its own characters: swapped, one of them twice, or in other case.
pub fn is_mistyped(typed: &str, word: &str) -> bool {
    let (typed, word): (Vec<_>, Vec<_>) = (typed.chars().collect(), word.chars().collect());
    if word.len() < LONG && !has_its_characters(&typed, &word) {
        return false;
    }
    let same = typed.iter().zip(&word).take_while(|(a, b)| a == b).count();
    match (&typed[same..], &word[same..]) {
        ([], [_]) | ([_], []) => true,
        ([a, rest @ ..], [b, others @ ..]) => {
            let replaced = rest == others;
            let too_many = *rest == word[same..];
            let too_few = typed[same..] == *others;
            let swapped =
                matches!((rest, others), ([c, rest @ ..], [d, others @ ..]) if a == d && b == c && rest == others);
            replaced || too_many || too_few || swapped
        }
        _ => false,
    }
}

/// Whether nothing but the characters of `word` was typed, each as often as there or once more.
fn has_its_characters(typed: &[char], word: &[char]) -> bool {
    let count = |characters: &[char], wanted: char| {
        characters.iter().filter(|character| character.eq_ignore_ascii_case(&wanted)).count()
    };
    let known = |character: &char| count(word, *character) > 0;
    typed.len() >= word.len() && typed.iter().all(known) && word.iter().all(|character| count(typed, *character) > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slip_is_a_mistyped_word_and_two_are_another_word() {
        for typed in ["targt", "taget", "targett", "atarget", "tarjet", "tagret", "arget", "targe", "Target"] {
            assert!(is_mistyped(typed, "target"), "{typed}");
        }
        for typed in ["tlt", "ttll", "tttl", "ttL"] {
            assert!(is_mistyped(typed, "ttl"), "{typed}");
        }
        for typed in ["tel", "tal", "tl", "tt", "ttx", "ttls"] {
            assert!(!is_mistyped(typed, "ttl"), "{typed}");
        }
        for typed in ["target", "trgt", "targets1", "", "tegrat", "other"] {
            assert!(!is_mistyped(typed, "target"), "{typed}");
        }
    }
}
