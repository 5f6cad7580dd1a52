//! Words that somebody mistyped.

/// Whether `typed` is `word` with one character too many, too few, another, or two neighbours swapped; the word itself is not.
pub fn is_mistyped(typed: &str, word: &str) -> bool {
    let (typed, word): (Vec<_>, Vec<_>) = (typed.chars().collect(), word.chars().collect());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slip_is_a_mistyped_word_and_two_are_another_word() {
        for typed in ["targt", "taget", "targett", "atarget", "tarjet", "tagret", "arget", "targe", "Target"] {
            assert!(is_mistyped(typed, "target"), "{typed}");
        }
        for typed in ["target", "trgt", "targets1", "", "tegrat", "other"] {
            assert!(!is_mistyped(typed, "target"), "{typed}");
        }
    }
}
