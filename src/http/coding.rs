//! Content codings (RFC 9110 8.4.1): gzip, and deflate, which is zlib's format whatever its name.

use std::io::{self, Read, Write};

use axum::http::{HeaderMap, HeaderValue, header};
use flate2::Compression;
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::domain::{Kind, Problem};

/// Unpacked at a time; the limits are held to before each.
const PIECE_BYTES: usize = 64 << 10;

/// How many times its size a body may unpack to. Numbers as JSON pack to a tenth at best, and the
/// codings reach a thousandth.
const RATIO_MAX: usize = 200;
/// Below this nobody asks for the ratio.
const RATIO_FREE_BYTES: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Gzip,
    Deflate,
}

impl Coding {
    fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }

    /// What a body was packed with.
    ///
    /// # Errors
    /// 415 for another coding, and for several on top of each other.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
        let Some(coding) = codings.next() else { return Ok(None) };
        let text = coding.to_str().unwrap_or_default().trim();
        if codings.next().is_none() {
            if text.is_empty() || text.eq_ignore_ascii_case("identity") {
                return Ok(None);
            }
            if let Some(coding) = Self::named(text) {
                return Ok(Some(coding));
            }
        }
        Err(Problem::fault(
            Kind::UnsupportedMedia,
            "/headers/content-encoding",
            "gzip, deflate, or none, once",
            "another coding, or several",
            "send the body as it is; pictures and sound are compressed already",
        ))
    }

    /// What an answer may be packed with; `None` unless the caller asks for it.
    pub fn asked(headers: &HeaderMap) -> Option<Self> {
        let asked = headers.get_all(header::ACCEPT_ENCODING).iter();
        let asked = asked.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
        let wanted = asked.filter_map(|one| {
            let (name, weight) = one.split_once(';').unwrap_or((one, ""));
            let refused = weight.trim().strip_prefix("q=").is_some_and(is_zero);
            Self::named(name.trim()).filter(|_| !refused)
        });
        // Gzip where both are wanted: every client means the same by it.
        wanted.min_by_key(|&coding| coding == Self::Deflate)
    }

    pub fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        })
    }

    /// Packs an answer, fast rather than small.
    pub fn pack(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let packed = Vec::with_capacity(bytes.len() / 4);
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(packed, Compression::fast());
                encoder.write_all(bytes)?;
                encoder.finish()
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(packed, Compression::fast());
                encoder.write_all(bytes)?;
                encoder.finish()
            }
        }
    }

    /// Unpacks a body to at most `most` bytes. `claim` is asked before every piece whether there is
    /// memory for so many bytes in all.
    ///
    /// # Errors
    /// 413 over a limit, 422 for what does not unpack or has more behind it, and those of `claim`.
    pub fn unpack(
        self,
        packed: &[u8],
        most: usize,
        mut claim: impl FnMut(usize) -> Result<(), Problem>,
    ) -> Result<Vec<u8>, Problem> {
        let ratio = packed.len().saturating_mul(RATIO_MAX).max(RATIO_FREE_BYTES);
        let mut decoder = match self {
            Self::Gzip => Decoder::Gzip(MultiGzDecoder::new(packed)),
            Self::Deflate => Decoder::Deflate(ZlibDecoder::new(packed)),
        };
        let mut whole = Vec::new();
        loop {
            claim(whole.len() + PIECE_BYTES)?;
            let before = whole.len();
            let piece = decoder.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut whole);
            piece.map_err(|_| undecodable())?;
            if whole.len() == before {
                return if decoder.is_done() { Ok(whole) } else { Err(undecodable()) };
            }
            if whole.len() > most.min(ratio) {
                return Err(bomb(most));
            }
        }
    }
}

enum Decoder<'a> {
    Gzip(MultiGzDecoder<&'a [u8]>),
    Deflate(ZlibDecoder<&'a [u8]>),
}

impl Decoder<'_> {
    /// Whether nothing lies behind what was unpacked.
    fn is_done(&self) -> bool {
        match self {
            Self::Gzip(decoder) => decoder.get_ref().is_empty(),
            Self::Deflate(decoder) => decoder.get_ref().is_empty(),
        }
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Deflate(decoder) => decoder.read(buffer),
        }
    }
}

/// Whether a weight (RFC 9110 12.4.2) is nought, which means: not this one.
fn is_zero(weight: &str) -> bool {
    weight.trim().parse::<f32>().is_ok_and(|weight| weight == 0.0)
}

fn undecodable() -> Problem {
    Problem::fault(
        Kind::Undecodable,
        "/body",
        "a whole body in its Content-Encoding, and nothing behind it",
        "bytes that do not unpack",
        "check that the body was packed once, and whole",
    )
}

fn bomb(most: usize) -> Problem {
    Problem::fault(
        Kind::TooLarge,
        "/body",
        format!("at most {most} bytes once unpacked, and at most {RATIO_MAX} times what was sent"),
        "more",
        "send less, or send it as it is",
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOTH: [Coding; 2] = [Coding::Gzip, Coding::Deflate];

    fn unpack(coding: Coding, packed: &[u8], most: usize) -> Result<Vec<u8>, Kind> {
        coding.unpack(packed, most, |_| Ok(())).map_err(|problem| problem.kind)
    }

    fn headers(name: &header::HeaderName, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn bombs_are_refused_while_they_unpack() {
        for coding in BOTH {
            let bomb = coding.pack(&vec![0; 4 << 20]).unwrap();
            let mut claimed = 0;
            let refused = coding.unpack(&bomb, usize::MAX, |bytes| {
                claimed = bytes;
                Ok(())
            });
            assert_eq!(refused.unwrap_err().kind, Kind::TooLarge);
            assert!(claimed <= bomb.len() * RATIO_MAX + 2 * PIECE_BYTES, "{claimed}");
            let plain = coding.pack(&vec![0; 200_000]).unwrap();
            assert_eq!(unpack(coding, &plain, 199_999), Err(Kind::TooLarge));
            assert_eq!(unpack(coding, &plain, 200_000).unwrap().len(), 200_000);
            let full = coding.unpack(&plain, 200_000, |bytes| match bytes {
                ..=100_000 => Ok(()),
                _ => Err(Problem::new(Kind::Overloaded, "full")),
            });
            assert_eq!(full.unwrap_err().kind, Kind::Overloaded);
        }
    }

    #[test]
    fn what_does_not_unpack_is_told_so() {
        for coding in BOTH {
            let packed = coding.pack(b"some text").unwrap();
            for broken in [&packed[..packed.len() - 1], &packed[..3], b"some text", b""] {
                assert_eq!(unpack(coding, broken, 99), Err(Kind::Undecodable), "{broken:?}");
            }
            let behind = [packed.as_slice(), b"x"].concat();
            assert_eq!(unpack(coding, &behind, 99), Err(Kind::Undecodable));
        }
    }

    #[test]
    fn headers_say_which() {
        let of = |values: &[&'static str]| {
            Coding::of(&headers(&header::CONTENT_ENCODING, values)).map_err(|problem| problem.kind)
        };
        for (values, coding) in [
            (&[][..], None),
            (&["identity"], None),
            (&["GZIP"], Some(Coding::Gzip)),
            (&["deflate"], Some(Coding::Deflate)),
        ] {
            assert_eq!(of(values), Ok(coding), "{values:?}");
        }
        for bad in [&["br"][..], &["gzip, gzip"], &["gzip", "gzip"], &["zstd"]] {
            assert_eq!(of(bad), Err(Kind::UnsupportedMedia), "{bad:?}");
        }
        let asked =
            |values: &[&'static str]| Coding::asked(&headers(&header::ACCEPT_ENCODING, values));
        for (values, coding) in [
            (&[][..], None),
            (&["br, zstd"], None),
            (&["gzip, deflate, br"], Some(Coding::Gzip)),
            (&["deflate", "gzip;q=0.5"], Some(Coding::Gzip)),
            (&["gzip;q=0, deflate"], Some(Coding::Deflate)),
            (&["gzip; q=0.000"], None),
        ] {
            assert_eq!(asked(values), coding, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_out(bytes in prop::collection::vec(0_u8..4, 0..20_000)) {
            for coding in BOTH {
                let packed = coding.pack(&bytes).unwrap();
                prop_assert_eq!(unpack(coding, &packed, bytes.len()), Ok(bytes.clone()));
            }
        }

        #[test]
        fn any_bytes_are_unpacked_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for coding in BOTH {
                let kind = unpack(coding, &bytes, 1000).err();
                prop_assert!(matches!(kind, None | Some(Kind::Undecodable | Kind::TooLarge)));
            }
        }
    }
}
