//! Seed words as people write them down, print them and paste them: the words in order, whatever stands around them.

use bip39::Language;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

/// The first so many letters tell each word of the list from all others (BIP39).
const TELLING_LETTERS: usize = 4;

/// Words are not a seed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// Neither 12 nor 24.
    #[error("a seed has 12 or 24 words, these are {0}")]
    Count(usize),
    /// Not in the English word list.
    #[error("word {position} is not in the list{}", suggestion.map(|word| format!("; did you mean {word:?}?")).unwrap_or_default())]
    Unknown {
        /// Which word, counted from one. The word itself is kept out of messages: it may be right but for a letter.
        position: usize,
        /// A word of the list that looks like it.
        suggestion: Option<&'static str>,
    },
    /// As they stand, and in the order of their numbers, they are two seeds.
    #[error("the numbers give another order than the one in which the words stand, and both are possible")]
    Order,
    /// Words of the list, but not ones that were ever made together.
    #[error("the words do not belong together: one is wrong, or two changed places")]
    Checksum,
}

/// What to make of characters that nobody sees: chat programs and web pages put them between words, or within them.
#[derive(Clone, Copy)]
enum Unseen {
    Nothing,
    Blank,
}

/// Ways to read a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// The words as they stand.
    pub(super) written: Vec<&'static str>,
    /// The words in the order of their numbers, if each has one and that order is another: some print them in columns.
    pub(super) numbered: Option<Vec<&'static str>>,
}

/// Reads 12 or 24 words of the list: in any case, in full or as their first letters, with numbers, commas, quotes or line ends
/// between them.
pub(super) fn read(text: &str) -> Result<Reading, WordsError> {
    read_as(text, Unseen::Nothing).or_else(|error| read_as(text, Unseen::Blank).map_err(|_| error))
}

fn read_as(text: &str, unseen: Unseen) -> Result<Reading, WordsError> {
    let (words, numbers) = parts(text, unseen);
    if !matches!(words.len(), 12 | 24) {
        return Err(WordsError::Count(words.len()));
    }
    let mut written = Vec::with_capacity(words.len());
    for (index, word) in words.iter().enumerate() {
        let unknown = || WordsError::Unknown { position: index + 1, suggestion: nearest(word) };
        written.push(in_list(word).ok_or_else(unknown)?);
    }
    let order = order(&numbers, written.len());
    let numbered = order.map(|order| order.into_iter().map(|at| written[at]).collect());
    Ok(Reading { numbered: numbered.filter(|numbered| *numbered != written), written })
}

/// The words, and the number right before each.
fn parts(text: &str, unseen: Unseen) -> (Zeroizing<Vec<String>>, Vec<Option<usize>>) {
    let mut words = Zeroizing::new(Vec::new());
    let (mut numbers, mut number) = (Vec::new(), None);
    let text = Zeroizing::new(text.nfkc().flat_map(char::to_lowercase).collect::<String>());
    let shown = |c: &char| !(is_unseen(*c) && matches!(unseen, Unseen::Nothing));
    let text = Zeroizing::new(text.chars().filter(shown).collect::<String>());
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let same = |c: char| match (first.is_alphabetic(), first.is_ascii_digit()) {
            (true, _) => c.is_alphabetic(),
            (_, true) => c.is_ascii_digit(),
            _ => !c.is_alphabetic() && !c.is_ascii_digit(),
        };
        let (run, after) = rest.split_at(rest.find(|c| !same(c)).unwrap_or(rest.len()));
        if first.is_alphabetic() {
            words.push(run.to_owned());
            numbers.push(number.take());
        } else if first.is_ascii_digit() {
            number = run.parse().ok();
        }
        rest = after;
    }
    (words, numbers)
}

fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// Which word comes at each place, if all are numbered.
fn order(numbers: &[Option<usize>], count: usize) -> Option<Vec<usize>> {
    (1..=count).map(|wanted| numbers.iter().position(|number| *number == Some(wanted))).collect()
}

fn in_list(word: &str) -> Option<&'static str> {
    let is_it = |listed: &&&str| match word.len() < TELLING_LETTERS {
        true => **listed == word,
        false => listed.starts_with(word),
    };
    let list = Language::English.word_list();
    list.iter().find(|listed| **listed == word).or_else(|| list.iter().find(is_it)).copied()
}

/// The word of the list that `word` was probably meant to be.
fn nearest(word: &str) -> Option<&'static str> {
    let list = Language::English.word_list();
    if let Some(longer) = list.iter().find(|one| word.len() + 1 == TELLING_LETTERS && one.starts_with(word)) {
        return Some(longer);
    }
    let distances = list.iter().map(|one| (*one, strsim::damerau_levenshtein(one, word)));
    let (best, distance) = distances.min_by_key(|(_, distance)| *distance)?;
    (distance <= 2).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = "legal winner thank year wave sausage worth useful legal winner thank yellow";

    fn check(text: &str) {
        let expected = Reading { written: WORDS.split(' ').collect(), numbered: None };
        assert_eq!(read(text), Ok(expected), "{text:?}");
    }

    fn joined(with: impl Fn(usize, &str) -> String) -> String {
        WORDS.split(' ').enumerate().map(|(at, word)| with(at + 1, word)).collect()
    }

    #[test]
    fn words_as_people_paste_them() {
        check(WORDS);
        check(&format!("\u{feff}  {}\r\n", WORDS.to_uppercase()));
        for between in [", ", ";", "\n", "\r\n", "\t", "\u{a0}", "\u{3000}", " \u{200b}", " - ", "\n> ", " | ", "・"] {
            check(&WORDS.replace(' ', between));
        }
        check(&joined(|at, word| format!("{at}. {word}\n")));
        check(&joined(|at, word| format!("{at}){word} ")));
        check(&joined(|at, word| format!("{at:>2} {word:<10}{}", if at % 4 == 0 { "\n" } else { "  " })));
        check(&joined(|_, word| format!("\"{word}\", ")));
        check(&joined(|_, word| format!("“{word}” ")));
        check(&format!("[{}]", joined(|_, word| format!("'{word}',"))));
        check(&joined(|_, word| format!("{} ", word.get(..4).unwrap_or(word))));
        // As letters of full width, and with what nobody sees between words or within them.
        check(
            &WORDS
                .chars()
                .map(|c| if c == ' ' { c } else { char::from_u32(c as u32 + 0xfee0).expect("a letter") })
                .collect::<String>(),
        );
        check(&WORDS.replace(' ', "\u{200b}"));
        check(&WORDS.replace("nn", "n\u{ad}n"));
    }

    #[test]
    fn numbers_give_the_order() {
        let words: Vec<&str> = WORDS.split(' ').collect();
        let column = |row: usize| (0..3).map(move |column| row + 4 * column);
        let cell = |at: usize| format!("{}. {}   ", at + 1, words[at]);
        let columns: String = (0..4).map(|row| column(row).map(cell).collect::<String>() + "\n").collect();
        let reading = read(&columns).expect("words");
        assert_eq!(reading.numbered, Some(words.clone()));
        assert_eq!(reading.written[..3], [words[0], words[4], words[8]]);
        // These number nothing.
        check(&format!("24 {WORDS}"));
        check(&joined(|_, word| format!("1 {word} ")));
    }

    #[test]
    fn what_is_not_in_the_list_is_refused() {
        let check = |text: &str, expected| assert_eq!(read(text), Err(expected), "{text}");
        check("", WordsError::Count(0));
        check("legal winner", WordsError::Count(2));
        let unknown = |position, suggestion| WordsError::Unknown { position, suggestion };
        check(&WORDS.replace("year", "yaer"), unknown(4, Some("year")));
        check(&WORDS.replace("year", "zzzzzzzz"), unknown(4, None));
        // Three letters begin many words; more than a word has belong to none.
        check(&WORDS.replace("yellow", "yel"), unknown(12, Some("yellow")));
        check(&WORDS.replace("sausage", "sausages"), unknown(6, Some("sausage")));
    }

    #[test]
    fn four_letters_tell_words_apart() {
        let mut begins: Vec<_> =
            Language::English.word_list().iter().map(|word| word.get(..4).unwrap_or(word)).collect();
        begins.sort_unstable();
        begins.dedup();
        assert_eq!(begins.len(), 2048);
    }
}
