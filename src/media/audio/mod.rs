//! WAV, FLAC, MP3 and OGG Vorbis to one channel at the model's rate, bounded before and while decoding.

mod resample;

use std::io::{Cursor, ErrorKind};

use bytes::Bytes;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;

use crate::domain::{Kind, Problem};
use resample::{ResampleError, Resampler};

/// Rates that recordings have, in Hz.
const RATES: std::ops::RangeInclusive<u32> = 1000..=384_000;

const FORMATS: &str = "WAV, FLAC, MP3 or OGG Vorbis audio";

/// What is asked of a decoded sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Hz.
    pub sample_rate: u32,
    pub seconds_max: u32,
}

/// Decodes a file to one channel (the mean of all) at the wanted rate, in about ±1.
///
/// # Errors
/// [`Kind::UnsupportedMedia`] for another format, [`Kind::TooLarge`] when the header says or the data
/// hold more seconds than wanted, [`Kind::Undecodable`] when the file is cut off or corrupt,
/// [`Kind::InvalidInput`] when it holds no sample.
pub fn decode(bytes: Bytes, wanted: Wanted, pointer: &str) -> Result<Vec<f32>, Problem> {
    let faults = Faults { wanted, pointer };
    let container = Container::of(&bytes).ok_or_else(|| faults.unsupported(&bytes))?;
    let streamed = container == Container::Wav && is_streamed(&bytes);
    let source = Box::new(Cursor::new(bytes));
    let source = MediaSourceStream::new(source, MediaSourceStreamOptions::default());
    let mut format = symphonia::default::get_probe()
        .probe(&Hint::new(), source, FormatOptions::default(), MetadataOptions::default())
        .map_err(|error| faults.refuse(&error))?;
    let track = format.default_track(TrackType::Audio).ok_or_else(|| faults.corrupt())?;
    let params = track.codec_params.as_ref().and_then(|params| params.audio());
    let params = params.ok_or_else(|| faults.corrupt())?;
    let declared = if streamed { None } else { track.num_frames };
    if let (Some(frames), Some(rate)) = (declared, params.sample_rate) {
        faults.bound(frames, rate)?;
    }
    let decoder = symphonia::default::get_codecs()
        .make_audio_decoder(params, &AudioDecoderOptions::default())
        .map_err(|error| faults.refuse(&error))?;
    let id = track.id;
    let whole = container.counts_exactly().then_some(declared).flatten();
    let mut reading = Reading { faults, decoder, resampler: None, rate: 0, frames: 0 };
    reading.all(format.as_mut(), id, whole)?;
    reading.finish()
}

/// The containers that are read, by their first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Wav,
    Flac,
    Ogg,
    /// Bare frames, or an ID3 tag before them (or before FLAC).
    Mp3,
}

impl Container {
    fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Some(Self::Wav),
            [b'f', b'L', b'a', b'C', ..] => Some(Self::Flac),
            [b'O', b'g', b'g', b'S', ..] => Some(Self::Ogg),
            // Eleven bits of synchronisation, then a version and layer III.
            [b'I', b'D', b'3', ..] | [0xff, 0xe2 | 0xe3 | 0xf2 | 0xf3 | 0xfa | 0xfb, ..] => {
                Some(Self::Mp3)
            }
            _ => None,
        }
    }

    /// Whether a stated number of frames is exact, so that fewer mean a file that was cut off.
    fn counts_exactly(self) -> bool {
        matches!(self, Self::Wav | Self::Flac)
    }
}

/// Programs that write WAV to a pipe cannot know its length and leave a size near 2³¹ or 2³².
fn is_streamed(bytes: &[u8]) -> bool {
    let size = bytes.get(4..8).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    size >= 0x7fff_f000
}

struct Reading<'a> {
    faults: Faults<'a>,
    decoder: Box<dyn AudioDecoder>,
    /// Made at the first packet, whose rate all others must have.
    resampler: Option<Resampler>,
    rate: u32,
    frames: u64,
}

impl Reading<'_> {
    /// Reads every packet of the track; `whole` is how many frames there must be, where known.
    fn all(
        &mut self,
        format: &mut dyn FormatReader,
        track: u32,
        whole: Option<u64>,
    ) -> Result<(), Problem> {
        let mut interleaved = Vec::new();
        loop {
            match format.next_packet() {
                Ok(None) => break,
                Ok(Some(packet)) if packet.track_id != track => {}
                Ok(Some(packet)) => {
                    let buffer =
                        self.decoder.decode(&packet).map_err(|error| self.faults.refuse(&error))?;
                    let rate = buffer.spec().rate();
                    let channels = buffer.spec().channels().count();
                    buffer.copy_to_vec_interleaved::<f32>(&mut interleaved);
                    self.take(&interleaved, channels, rate)?;
                }
                // A stream without a stated length ends where its bytes do.
                Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(self.faults.refuse(&error)),
            }
        }
        match whole {
            Some(whole) if self.frames < whole => Err(self.faults.cut_off(self.frames, whole)),
            _ => Ok(()),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "channels are few")]
    fn take(&mut self, interleaved: &[f32], channels: usize, rate: u32) -> Result<(), Problem> {
        if channels == 0 || interleaved.is_empty() {
            return Ok(());
        }
        if self.resampler.is_none() && RATES.contains(&rate) {
            let made = Resampler::new(rate, self.faults.wanted.sample_rate);
            self.resampler = Some(made.map_err(|ResampleError| self.faults.corrupt())?);
            self.rate = rate;
        }
        let same = self.rate == rate;
        let resampler =
            self.resampler.as_mut().filter(|_| same).ok_or_else(|| self.faults.rate(rate))?;
        self.frames += (interleaved.len() / channels) as u64;
        self.faults.bound(self.frames, rate)?;
        if interleaved.iter().any(|sample| !sample.is_finite()) {
            return Err(self.faults.corrupt());
        }
        let mono = interleaved
            .chunks_exact(channels)
            .map(|frame| frame.iter().sum::<f32>() / channels as f32)
            // Floating-point files may exceed full scale, but not by so much.
            .map(|sample| sample.clamp(-1e3, 1e3));
        resampler.push(mono).map_err(|ResampleError| self.faults.corrupt())
    }

    fn finish(self) -> Result<Vec<f32>, Problem> {
        let resampler = self.resampler.ok_or_else(|| self.faults.empty())?;
        resampler.finish().map_err(|ResampleError| self.faults.corrupt())
    }
}

/// The texts of what can be wrong with a file.
#[derive(Clone, Copy)]
struct Faults<'a> {
    wanted: Wanted,
    pointer: &'a str,
}

impl Faults<'_> {
    fn bound(&self, frames: u64, rate: u32) -> Result<(), Problem> {
        let most = u64::from(self.wanted.seconds_max) * u64::from(rate);
        if frames <= most {
            return Ok(());
        }
        let seconds = frames / u64::from(rate.max(1));
        Err(Problem::fault(
            Kind::TooLarge,
            self.pointer,
            format!("at most {} seconds of sound", self.wanted.seconds_max),
            format!("{seconds} seconds or more"),
            "cut the recording into parts and send them one by one",
        ))
    }

    fn unsupported(&self, bytes: &[u8]) -> Problem {
        let got = match bytes {
            [] => "nothing".to_owned(),
            [b'I' | b'M', b'I' | b'M', ..] | [0x89, b'P', b'N', b'G', ..] | [0xff, 0xd8, ..] => {
                "a picture".to_owned()
            }
            _ => format!("{} bytes that begin as none of these do", bytes.len()),
        };
        self.media(got)
    }

    fn media(&self, got: String) -> Problem {
        let hint = "convert it first, for example: ffmpeg -i INPUT -ar 16000 -ac 1 OUTPUT.wav";
        Problem::fault(Kind::UnsupportedMedia, self.pointer, FORMATS, got, hint)
    }

    fn refuse(&self, error: &Error) -> Problem {
        match error {
            Error::Unsupported(_) => self.media("one with another codec inside".to_owned()),
            _ => self.corrupt(),
        }
    }

    fn undecodable(&self, got: String) -> Problem {
        let hint = "send the whole file; a player on your side should play it to the end";
        Problem::fault(Kind::Undecodable, self.pointer, FORMATS, got, hint)
    }

    fn corrupt(&self) -> Problem {
        self.undecodable("a file of that kind that is cut off or corrupt".to_owned())
    }

    fn cut_off(&self, frames: u64, whole: u64) -> Problem {
        self.undecodable(format!("a file that ends after {frames} of its {whole} samples"))
    }

    fn rate(&self, rate: u32) -> Problem {
        self.undecodable(format!("one whose sample rate is {rate} Hz, or changes on the way"))
    }

    fn empty(&self) -> Problem {
        Problem::fault(
            Kind::InvalidInput,
            self.pointer,
            "at least one sample of sound",
            "a file that holds none",
            "check how the file was recorded",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted = Wanted { sample_rate: 16_000, seconds_max: 60 };

    /// A WAV file: format 1 is integers, 3 is floating point. `stated` is the length of the data in the
    /// header, where it is not the true one.
    fn wav(
        format: u16,
        channels: u16,
        rate: u32,
        bits: u16,
        data: &[u8],
        stated: Option<u32>,
    ) -> Bytes {
        let length = stated.unwrap_or(u32::try_from(data.len()).unwrap());
        let block = channels * bits / 8;
        let mut file = b"RIFF".to_vec();
        file.extend((length.saturating_add(36)).to_le_bytes());
        file.extend(b"WAVEfmt \x10\0\0\0");
        file.extend(format.to_le_bytes());
        file.extend(channels.to_le_bytes());
        file.extend(rate.to_le_bytes());
        file.extend((rate * u32::from(block)).to_le_bytes());
        file.extend(block.to_le_bytes());
        file.extend(bits.to_le_bytes());
        file.extend(b"data");
        file.extend(length.to_le_bytes());
        file.extend(data);
        file.into()
    }

    fn ints(samples: &[i16]) -> Vec<u8> {
        samples.iter().flat_map(|s| s.to_le_bytes()).collect()
    }

    fn refused(bytes: Bytes) -> Problem {
        decode(bytes, WANTED, "/body").unwrap_err()
    }

    #[test]
    fn stereo_is_mixed_and_integers_become_fractions() {
        let data = ints(&[16_384, 0, -16_384, 16_384, 0, 32_767]);
        let got = decode(wav(1, 2, 16_000, 16, &data, None), WANTED, "/body").unwrap();
        assert_eq!(got.len(), 3);
        for (got, expected) in got.iter().zip([0.25, 0.0, 0.5]) {
            assert!((got - expected).abs() < 1e-4, "{got}");
        }
    }

    #[test]
    fn floating_point_reads_and_what_is_not_finite_does_not() {
        let data: Vec<u8> = [0.5_f32, -0.25].iter().flat_map(|s| s.to_le_bytes()).collect();
        let got = decode(wav(3, 1, 16_000, 32, &data, None), WANTED, "/body").unwrap();
        assert_eq!(got, [0.5, -0.25]);
        let data: Vec<u8> = [0.5_f32, f32::NAN].iter().flat_map(|s| s.to_le_bytes()).collect();
        assert_eq!(refused(wav(3, 1, 16_000, 32, &data, None)).kind, Kind::Undecodable);
    }

    #[test]
    fn every_format_reads_to_the_same_tone() {
        // Half a second of 440 Hz at 8 kHz, half of full scale.
        let files: [(&str, &[u8]); 3] = [
            ("flac", include_bytes!("../../../tests/it/data/tone.flac")),
            ("ogg", include_bytes!("../../../tests/it/data/tone.ogg")),
            ("mp3", include_bytes!("../../../tests/it/data/tone.mp3")),
        ];
        for (name, file) in files {
            let got = decode(Bytes::from_static(file), WANTED, "/body").unwrap();
            // MP3 pads to whole frames.
            assert!((8000..10_500).contains(&got.len()), "{name}: {}", got.len());
            let middle = &got[2000..6000];
            let crossings =
                middle.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count();
            assert!((109..=111).contains(&crossings), "{name}: {crossings}");
            let peak = middle.iter().copied().fold(0.0, f32::max);
            assert!((0.45..0.55).contains(&peak), "{name}: {peak}");
        }
    }

    #[test]
    fn an_hour_in_the_header_is_refused_before_anything_is_read() {
        let hour = 16_000 * 2 * 3600;
        let problem = refused(wav(1, 1, 16_000, 16, &ints(&[0; 100]), Some(hour)));
        assert_eq!(problem.kind, Kind::TooLarge);
        assert!(problem.faults[0].got.starts_with("3600"), "{problem}");
    }

    #[test]
    fn a_stream_without_a_length_reads_to_its_end_and_not_beyond_the_bound() {
        let piped =
            |samples: usize| wav(1, 1, 1000, 16, &vec![0; samples * 2], Some(u32::MAX - 36));
        let wanted = Wanted { sample_rate: 1000, seconds_max: 10 };
        let read = decode(piped(5000), wanted, "/body").unwrap().len();
        // The reader gives whole pieces of 1152 samples.
        assert!((3848..=5000).contains(&read), "{read}");
        assert_eq!(decode(piped(20_000), wanted, "/body").unwrap_err().kind, Kind::TooLarge);
    }

    #[test]
    fn files_that_are_cut_off_or_corrupt_are_named_so() {
        let whole = wav(1, 1, 16_000, 16, &ints(&[1000; 4000]), None);
        assert_eq!(refused(whole.slice(..4000)).kind, Kind::Undecodable);
        assert_eq!(refused(whole.slice(..30)).kind, Kind::Undecodable);
        let flac = Bytes::from_static(include_bytes!("../../../tests/it/data/tone.flac"));
        assert_eq!(refused(flac.slice(..1500)).kind, Kind::Undecodable);
        assert_eq!(
            refused(Bytes::from_static(b"fLaC and then nothing of the kind")).kind,
            Kind::Undecodable
        );
    }

    #[test]
    fn other_formats_are_refused_with_a_way_out() {
        for bytes in [&b"\x89PNG\r\n\x1a\n"[..], b"hello", b"", b"RIFF\0\0\0\0AVI "] {
            let problem = refused(Bytes::copy_from_slice(bytes));
            assert_eq!(problem.kind, Kind::UnsupportedMedia, "{bytes:?}");
            assert!(problem.faults[0].hint.contains("ffmpeg"), "{problem:?}");
        }
    }

    #[test]
    fn a_file_without_a_sample_is_refused() {
        assert_eq!(refused(wav(1, 1, 16_000, 16, &[], None)).kind, Kind::InvalidInput);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_bring_the_decoder_down(
            start in 0_usize..4,
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600),
        ) {
            let head: [&[u8]; 4] = [b"RIFF\x40\0\0\0WAVEfmt ", b"fLaC\0\0\0\x22", b"OggS\0\x02", b"\xff\xfb\x90"];
            let file: Vec<u8> = head[start].iter().copied().chain(bytes).collect();
            let _ = decode(file.into(), WANTED, "/body");
        }
    }
}
