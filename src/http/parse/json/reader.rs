//! JSON (RFC 8259) read from front to back: nothing is kept but the place, and nothing is recursive.

use std::borrow::Cow;
use std::str;

use crate::domain::{Kind, Problem};
use crate::http::parse::clip;
use crate::http::parse::json::number::{Number, usual, whole};

/// A JSON text, and how far it was read.
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the last number began.
    number: usize,
}

/// What a value is, by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Null,
    Boolean,
    Number,
    String,
    List,
    Object,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, number: 0 }
    }

    /// What is still to be read.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// What the next value is, which is then read by the method of that name.
    pub fn next(&mut self) -> Result<Next, Problem> {
        match self.peek() {
            Some(b'n') => Ok(Next::Null),
            Some(b't' | b'f') => Ok(Next::Boolean),
            Some(b'-' | b'0'..=b'9') => Ok(Next::Number),
            Some(b'"') => Ok(Next::String),
            Some(b'[') => Ok(Next::List),
            Some(b'{') => Ok(Next::Object),
            _ => Err(self.syntax()),
        }
    }

    /// How an error names the next value, which nobody wants.
    pub fn shown(&mut self) -> Result<String, Problem> {
        let name = match self.next()? {
            Next::Null => "null",
            Next::Boolean => "a boolean",
            Next::Number => {
                let text = self.number()?.text();
                return Ok(format!("the number {}", clip(&String::from_utf8_lossy(text))));
            }
            Next::String => "a string",
            Next::List => "a list",
            Next::Object => "an object",
        };
        Ok(name.to_owned())
    }

    pub fn null(&mut self) -> Result<(), Problem> {
        self.peek();
        b"null".iter().try_for_each(|&byte| self.expect(byte))
    }

    pub fn boolean(&mut self) -> Result<bool, Problem> {
        let value = self.peek() == Some(b't');
        for &byte in if value { b"true".as_slice() } else { b"false" } {
            self.expect(byte)?;
        }
        Ok(value)
    }

    /// A number, as it was written.
    pub fn number(&mut self) -> Result<Number<'a>, Problem> {
        self.number = self.at;
        match Number::read(self.rest()) {
            Ok(number) => {
                self.at += number.text().len();
                Ok(number)
            }
            Err(offset) => {
                self.at += offset;
                Err(self.syntax())
            }
        }
    }

    /// A number as the nearest 32-bit float, which is infinite when there is none.
    pub fn single(&mut self) -> Result<f32, Problem> {
        Ok(self.number()?.single())
    }

    /// The numbers of a list that follow, each behind a comma, as 32-bit floats: `most` of them, or up to one that is
    /// infinite, or all. What follows then is not read, nor is the comma before it.
    pub fn singles(&mut self, singles: &mut Vec<f32>, most: usize) -> Result<(), Problem> {
        let (bytes, most) = (self.bytes, singles.len().saturating_add(most));
        while singles.len() < most
            && let Some(start) = behind_comma(bytes, self.at)
        {
            self.at = start;
            let window = bytes[start..].first_chunk();
            let quick = window.and_then(|window| usual(window).or_else(|| whole(window)));
            if let Some((single, length)) = quick {
                self.at += length;
                singles.push(single);
                continue;
            }
            let single = self.single()?;
            singles.push(single);
            if single.is_infinite() {
                break;
            }
        }
        Ok(())
    }

    /// The number that was read last, as it was written.
    pub fn last_number(&self) -> Result<Number<'a>, Problem> {
        self.back_to(self.number).number()
    }

    /// A number as a double.
    pub fn double(&mut self) -> Result<f64, Problem> {
        let double = self.number()?.double();
        if double.is_finite() { Ok(double) } else { Err(self.syntax()) }
    }

    /// A string, borrowed where nothing in it is escaped.
    pub fn string(&mut self) -> Result<Cow<'a, str>, Problem> {
        self.peek();
        self.expect(b'"')?;
        let first = self.plain()?;
        if self.bytes.get(self.at) == Some(&b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(first));
        }
        let mut text = first.to_owned();
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => break self.at += 1,
                Some(b'\\') => text.push(self.escape()?),
                _ => return Err(self.syntax()),
            }
            text.push_str(self.plain()?);
        }
        Ok(Cow::Owned(text))
    }

    /// How far it was read: a place to come back to.
    pub fn place(&self) -> usize {
        self.at
    }

    /// The same text from an earlier place on.
    pub fn back_to(&self, place: usize) -> Self {
        Self { at: place, ..*self }
    }

    /// Passes over the next value. Of its form only quotes and brackets are looked at: whoever wants it
    /// comes back to it.
    pub fn skip(&mut self) -> Result<(), Problem> {
        let mut open = 0_usize;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.string()?;
                }
                Some(b'[' | b'{') => {
                    open += 1;
                    self.at += 1;
                    continue;
                }
                Some(b']' | b'}') if open > 0 => {
                    open -= 1;
                    self.at += 1;
                }
                // Inside of brackets numbers and commas are passed over together: most of a large body is one list.
                Some(_) if open > 0 => {
                    self.at += before(self.rest(), nests);
                    continue;
                }
                Some(b',' | b':' | b']' | b'}') | None => return Err(self.syntax()),
                Some(_) => {
                    let rest = self.rest();
                    let ends = |byte: &u8| b",:]}\" \n\r\t[{".contains(byte);
                    self.at += rest.iter().position(ends).unwrap_or(rest.len());
                }
            }
            if open == 0 {
                return Ok(());
            }
        }
    }

    /// Calls `each` before every value of a list. It reads the value.
    pub fn list(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        self.peek();
        self.expect(b'[')?;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            each(self)?;
            if !self.comma(b']')? {
                return Ok(());
            }
        }
    }

    /// Calls `each` with every key of an object. It reads the value.
    pub fn object(
        &mut self,
        mut each: impl FnMut(&mut Self, &str) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        self.peek();
        self.expect(b'{')?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let key = self.string()?;
            self.peek();
            self.expect(b':')?;
            each(self, &key)?;
            if !self.comma(b'}')? {
                return Ok(());
            }
        }
    }

    /// Whether a comma follows, after which there must be more; else it is `close`.
    #[inline]
    pub fn comma(&mut self, close: u8) -> Result<bool, Problem> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.syntax()),
        }
    }

    /// Nothing but space follows.
    pub fn end(&mut self) -> Result<(), Problem> {
        if self.peek().is_some() { Err(self.syntax()) } else { Ok(()) }
    }

    /// The byte behind the space that follows.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        self.at = solid(self.bytes, self.at);
        self.bytes.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), Problem> {
        if self.bytes.get(self.at) != Some(&byte) {
            return Err(self.syntax());
        }
        self.at += 1;
        Ok(())
    }

    /// The part of a string up to what ends it or begins an escape.
    fn plain(&mut self) -> Result<&'a str, Problem> {
        let text = &self.rest()[..before(self.rest(), special)];
        let read = str::from_utf8(text);
        self.at += read.map_or_else(|error| error.valid_up_to(), str::len);
        read.map_err(|_| self.syntax())
    }

    /// The character that an escape stands for.
    fn escape(&mut self) -> Result<char, Problem> {
        self.at += 1;
        let Some(&byte) = self.bytes.get(self.at) else { return Err(self.syntax()) };
        let char = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(self.syntax()),
        };
        self.at += 1;
        Ok(char)
    }

    /// The character of an escape by number, or of two that are a pair of surrogates. Half a pair is no text.
    fn unicode(&mut self) -> Result<char, Problem> {
        let mut code = self.unit()?;
        if (0xd800..0xdc00).contains(&code) {
            self.expect(b'\\')?;
            let low = self.unit()?;
            if !(0xdc00..0xe000).contains(&low) {
                return Err(self.syntax());
            }
            code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        char::from_u32(code).ok_or_else(|| self.syntax())
    }

    /// The four hexadecimal digits of an escape.
    fn unit(&mut self) -> Result<u32, Problem> {
        self.expect(b'u')?;
        (0..4).try_fold(0, |code, _| {
            let digit = self.bytes.get(self.at).and_then(|&byte| char::from(byte).to_digit(16));
            let digit = digit.ok_or_else(|| self.syntax())?;
            self.at += 1;
            Ok(code << 4 | digit)
        })
    }

    /// What a text that is no JSON deserves: where it went wrong.
    #[cold]
    pub fn syntax(&self) -> Problem {
        let read = &self.bytes[..self.at.min(self.bytes.len())];
        let line = memchr::memchr_iter(b'\n', read).count() + 1;
        let column = read.iter().rev().take_while(|&&byte| byte != b'\n').count() + 1;
        let place = format!("line {line}, column {column}");
        let got = if self.at >= self.bytes.len() {
            format!("a text that ends too early, at {place}")
        } else {
            format!("something else at {place}")
        };
        let hint = "check quotes, commas and brackets; JSON has no NaN, no Infinity and no number \
                    beyond 1e308";
        Problem::fault(Kind::InvalidInput, "", "JSON (RFC 8259)", got, hint)
    }
}

/// Where a number begins behind a comma; `None` when something else follows.
#[inline]
fn behind_comma(bytes: &[u8], at: usize) -> Option<usize> {
    let comma = solid(bytes, at);
    if bytes.get(comma) != Some(&b',') {
        return None;
    }
    let start = solid(bytes, comma + 1);
    matches!(bytes.get(start), Some(b'-' | b'0'..=b'9')).then_some(start)
}

/// Where the space ends.
#[inline]
fn solid(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// How many bytes come before the first that is `wanted`. Blocks are looked at as a whole, with the processor's vectors:
/// most strings and lists are long, and most blocks hold nothing.
#[inline]
fn before(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> usize {
    let found = |block: &[u8; 32]| block.iter().fold(false, |found, &byte| found | wanted(byte));
    let (blocks, _) = bytes.as_chunks();
    let skipped = blocks.iter().take_while(|block| !found(block)).count() * 32;
    let length = bytes[skipped..].iter().position(|&byte| wanted(byte));
    length.map_or(bytes.len(), |length| skipped + length)
}

/// Whether a byte begins a string, or opens or closes brackets.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "without a branch the compiler makes vectors of it"
)]
fn nests(byte: u8) -> bool {
    // One bit is all that curly brackets differ in from square ones.
    let square = byte & !0x20;
    (byte == b'"') | (square == b'[') | (square == b']')
}

/// Whether a byte ends a string, begins an escape, or may not be in one.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "without a branch the compiler makes vectors of it"
)]
fn special(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A string read here and by another parser: the same text, or refused by both.
    fn check(json: &[u8]) -> Result<(), TestCaseError> {
        let mut reader = Reader::new(json);
        let ours = reader.string().and_then(|text| reader.end().map(|()| text.into_owned())).ok();
        let theirs = serde_json::from_slice::<String>(json).ok();
        prop_assert_eq!(ours, theirs, "{}", String::from_utf8_lossy(json));
        Ok(())
    }

    #[test]
    fn strings_with_everything_in_them() {
        for text in [
            r#""""#,
            r#""\"\\\/\b\f\n\r\t""#,
            r#""\u0041\u00e9\u20ac\ud83d\ude00é€😀""#,
            r#""\ud83d""#,
            r#""\ud83d\u0041""#,
            r#""\ude00""#,
            r#""\ud83dx""#,
            r#""\u12""#,
            r#""\u12g4""#,
            r#""\x""#,
            "\"\n\"",
            "\"",
            "\"\\",
            "\"a",
            " \n\t\"a\" ",
            "\"a\" x",
        ] {
            check(text.as_bytes()).unwrap();
        }
        check(b"\"\xff\"").unwrap();
        check(b"\"\xc3\"").unwrap();
        for length in 0..100 {
            check(format!("\"{}\\n{0}é\"", "x".repeat(length)).as_bytes()).unwrap();
        }
    }

    #[test]
    fn a_value_is_passed_over_and_read_later() {
        let json = br#"[{"a]": [1, "\"}", {"b": null}], "c": true}, -1.5e3, "x", []]"#;
        let mut reader = Reader::new(json);
        let mut places = Vec::new();
        reader
            .list(|reader| {
                places.push(reader.place());
                reader.skip()
            })
            .unwrap();
        reader.end().unwrap();
        assert_eq!(places.len(), 4);
        let mut later = reader.back_to(places[1]);
        assert_eq!(later.next().unwrap(), Next::Number);
        assert!((later.double().unwrap() + 1500.0).abs() < 1e-9);
        for bad in [&b"[1"[..], b"]", b"{\"a", b"", b","] {
            assert!(Reader::new(bad).skip().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn faults_are_told_by_line_and_column() {
        let mut reader = Reader::new(b"{\"a\":\n  tru}");
        let problem = reader.object(|reader, _| reader.boolean().map(drop)).unwrap_err();
        assert!(problem.detail.contains("line 2, column 6"), "{problem}");
    }

    proptest! {
        #[test]
        fn any_string_reads_as_another_parser_reads_it(text in any::<String>(), raw in ".{0,80}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            check(serde_json::to_string(&text).unwrap().as_bytes())?;
            check(format!("\"{raw}\"").as_bytes())?;
            check(&[b"\"", bytes.as_slice(), b"\""].concat())?;
        }

        #[test]
        fn any_escapes_read_as_another_parser_reads_them(text in "(\\\\[ubfnrt\"/\\\\x]|[0-9a-fD8C]{1,4}|\\\\ud83d|\\\\ude00|é){0,12}") {
            check(format!("\"{text}\"").as_bytes())?;
        }
    }
}
