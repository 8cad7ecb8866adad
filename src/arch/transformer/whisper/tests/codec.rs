//! Parameters in, answers out; several languages; configurations that cannot be.

use super::decoding::{manner, run};
use super::network::{hear, logits};
use super::*;
use crate::arch::transformer::whisper::config::Multilingual;
use crate::arch::transformer::whisper::decode::{Attempt, Manner, Rules, Task};
use crate::arch::transformer::whisper::recording::{self, Options, Times, Transcript};
use crate::domain::{Evidence, Outcome, ParamValue, Problem};

fn codec(multilingual: bool) -> WhisperCodec {
    let mut tokens = preprocessing().tokens;
    if multilingual {
        let languages = [("de".to_owned(), 34), ("en".to_owned(), 33)].into();
        tokens.multilingual = Some(Multilingual { transcribe: 35, translate: 36, languages });
    }
    let vocabulary = Arc::new(Vocabulary::new(TOKENIZER.as_bytes(), 8).unwrap());
    let waveforms = Waveforms { sample_rate: 1000, limits: MediaLimits::default() };
    WhisperCodec { waveforms, tokens, vocabulary, longest: 3200, before_max: 3 }
}

#[test]
fn a_network_of_several_languages_hears_which_one_it_is() {
    let plan = plan(10);
    let tokens = codec(true).tokens;
    let audio = hear(&plan, 1);
    let first = logits(&plan, &audio, &[9], &[1]);
    let heard = if first[33] >= first[34] { 33 } else { 34 };
    let ask = |language, task| {
        let manner = Manner { language, task, ..manner(false, 1, 0.0) };
        let attempt = Attempt::new(plan.begin(&audio), manner, &[], &tokens);
        run(&plan, &tokens, vec![attempt], 0).remove(0)
    };
    let unsaid = ask(None, Task::Transcribe);
    assert_eq!(unsaid.language, Some(heard));
    assert_eq!(ask(Some(heard), Task::Transcribe), unsaid);
    assert_eq!(ask(Some(67 - heard), Task::Translate).language, Some(67 - heard));
    // The prompt is the start, the language, the task, and that times are left out.
    let mut row = logits(&plan, &audio, &[9, heard, 35, 11], &[4]);
    Rules::new(&tokens, false).apply(&mut row, &[]).unwrap();
    let best = (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
    assert_eq!(unsaid.tokens[0] as usize, best);
}

fn asked(codec: &WhisperCodec, params: &[(&str, ParamValue)]) -> Result<Options, Problem> {
    let mut all = Params::default();
    for (name, value) in params {
        assert!(all.insert(name, value.clone(), format!("/parameters/{name}")));
    }
    let tensor = crate::domain::Tensor::new(vec![900], sound(900, 1)).unwrap();
    let payload = Payload::single(Item::Tensor(tensor), "/inputs/0");
    codec.decode(payload, &all).map(|(samples, _)| samples[0].options)
}

#[test]
fn parameters_are_read_and_refused_by_their_place() {
    let text = |text: &str| ParamValue::Text(text.to_owned());
    let (english, all) = (codec(false), codec(true));
    let options = asked(
        &english,
        &[
            ("language", text("en")),
            ("task", text("transcribe")),
            ("timestamps", text("segment")),
            ("beam_size", ParamValue::Number(5.0)),
            ("seed", text("7")),
        ],
    );
    let expected = Options { times: Times::Segments, beams: 5, seed: 7, ..Options::default() };
    assert_eq!(options.unwrap(), expected);
    let options = asked(&all, &[("language", text("de")), ("task", text("translate"))]).unwrap();
    assert_eq!((options.language, options.task), (Some(34), Task::Translate));
    for (codec, params, at) in [
        (&english, vec![("task", text("translate"))], "/parameters/task"),
        (&english, vec![("language", text("de"))], "/parameters/language"),
        (&all, vec![("language", text("xx"))], "/parameters/language"),
        (&all, vec![("timestamps", text("letter"))], "/parameters/timestamps"),
        (&all, vec![("temperature", text("1.5"))], "/parameters/temperature"),
        (&all, vec![("beam_size", text("0"))], "/parameters/beam_size"),
        (
            &all,
            vec![("beam_size", text("2")), ("temperature", text("0.5"))],
            "/parameters/beam_size",
        ),
        (&all, vec![("top_k", text("2"))], "/parameters/top_k"),
    ] {
        assert_eq!(asked(codec, &params).unwrap_err().faults[0].pointer, at);
    }
}

fn segment(start: usize, end: usize, tokens: &[TokenId]) -> recording::Segment {
    let heard =
        recording::Heard { seek: 100, temperature: 0.2, no_speech: 0.1, ..Default::default() };
    recording::Segment {
        start,
        end,
        tokens: tokens.to_vec(),
        log_probabilities: vec![-0.5; tokens.len()],
        heard,
        words: Vec::new(),
    }
}

#[test]
fn an_answer_has_the_text_and_the_segments_where_they_were_asked_for() {
    let codec = codec(true);
    let transcript = Transcript {
        segments: vec![segment(0, 400, &[0, 1]), segment(420, 800, &[0, 2])],
        language: Some(34),
        drawn: false,
    };
    let answer = |params: &Params| {
        let tensor = crate::domain::Tensor::new(vec![900], sound(900, 1)).unwrap();
        let payload = Payload::single(Item::Tensor(tensor), "/inputs/0");
        let (_, ask) = codec.decode(payload, params).unwrap();
        let outcomes = codec.encode(vec![transcript.clone()], &ask).unwrap();
        assert!(codec.encode(vec![], &ask).is_err());
        serde_json::to_string(&outcomes[0]).unwrap()
    };
    let plain = r#"{"text":"ab ac","words":[],"language":"de","duration":0.9}"#;
    assert_eq!(answer(&Params::default()), plain);
    let mut params = Params::default();
    params.insert("timestamps", ParamValue::Text("segment".into()), String::new());
    let segments = r#"[{"start":0.0,"end":0.4,"text":"ab"},{"start":0.42,"end":0.8,"text":"ac"}]"#;
    assert!(answer(&params).contains(&format!(r#""segments":{segments}"#)));
}

#[test]
fn segments_tell_what_they_rest_on_and_words_how_sure_they_are() {
    let codec = codec(false);
    let mut said = segment(100, 600, &[0, 2]);
    let word =
        recording::Word { text: " ac".to_owned(), start: 120, end: 300, log_probability: -0.5 };
    said.words = vec![word];
    let made = Transcript { segments: vec![said], ..Transcript::default() };
    let tensor = crate::domain::Tensor::new(vec![900], sound(900, 1)).unwrap();
    let mut params = Params::default();
    params.insert("timestamps", ParamValue::Text("word".into()), String::new());
    let payload = Payload::single(Item::Tensor(tensor), "/inputs/0");
    let (recordings, ask) = codec.decode(payload, &params).unwrap();
    assert_eq!(recordings[0].options.times, Times::Words);
    let outcomes = codec.encode(vec![made], &ask).unwrap();
    let [Outcome::Transcript { segments, words, language, .. }] = outcomes.as_slice() else {
        panic!("{outcomes:?}")
    };
    let Evidence { seek, tokens, temperature, no_speech, .. } = &segments[0].evidence;
    assert_eq!((*seek, tokens.as_slice(), *temperature, *no_speech), (10, &[0, 2][..], 0.2, 0.1));
    assert_eq!((words[0].word.as_str(), words[0].start, words[0].end), ("ac", 0.12, 0.3));
    near(&[words[0].confidence], &[(-0.5_f32).exp()]);
    assert_eq!(language.as_deref(), Some("en"));
}

#[test]
fn what_was_said_before_becomes_tokens_of_which_the_last_are_kept() {
    let before = |tokenizer: &str, text: &str| {
        Vocabulary::new(tokenizer.as_bytes(), 8).unwrap().before(text, 3)
    };
    let knows = TOKENIZER.replace("<end>\": 8", "<end>\": 8, \"<|startofprev|>\": 9");
    assert_eq!(before(&knows, " abcde "), Some(vec![9, 2, 3, 4]));
    // The letter a is a token only together with its space, which no rule joins here.
    assert_eq!(before(&knows, "ab"), Some(vec![9, 1]));
    assert_eq!(before(TOKENIZER, "ab"), None);
    let text = ParamValue::Text("ab".to_owned());
    let refused = asked(&codec(false), &[("prompt", text)]).unwrap_err();
    assert_eq!(refused.faults[0].pointer, "/parameters/prompt");
}

#[test]
fn long_sound_is_cut_where_it_is_quiet_and_joined_with_its_times() {
    let codec = codec(false);
    let mut samples = sound(5000, 1);
    samples[2000..2400].fill(0.0);
    let tensor = crate::domain::Tensor::new(vec![5000], samples).unwrap();
    let payload = Payload::single(Item::Tensor(tensor), "/inputs/0");
    let mut params = Params::default();
    params.insert("timestamps", ParamValue::Text("segment".into()), String::new());
    let (recordings, ask) = codec.decode(payload, &params).unwrap();
    let lengths: Vec<usize> = recordings.iter().map(|part| part.samples.len()).collect();
    assert!(lengths.len() == 2 && (2000..2400).contains(&lengths[0]), "{lengths:?}");
    let segments = vec![segment(100, 600, &[0])];
    let made = Transcript { segments, ..Transcript::default() };
    let outcomes = codec.encode(vec![made.clone(), made], &ask).unwrap();
    let answer = serde_json::to_value(&outcomes[0]).unwrap();
    assert_eq!((&answer["text"], &answer["duration"]), (&"a a".into(), &5.0.into()));
    let start = answer["segments"][1]["start"].as_f64().unwrap();
    assert!((start - (lengths[0] + 100) as f64 / 1000.0).abs() < 1e-6, "{start}");
}

#[test]
fn a_configuration_that_cannot_be_is_refused_by_its_key() {
    for (edit, key) in [
        (
            Box::new(|c: &mut Config| c.decoder_heads = 3) as Box<dyn Fn(&mut Config)>,
            "decoder_heads",
        ),
        (Box::new(|c: &mut Config| c.audio_positions = 0), "audio_positions"),
        (Box::new(|c: &mut Config| c.hidden = 0), "hidden"),
    ] {
        let mut config = config();
        edit(&mut config);
        assert!(config.check().unwrap_err().to_string().contains(key));
    }
    let mut bad = preprocessing();
    bad.mel.mels = 7;
    assert!(bad.check(&config()).unwrap_err().to_string().contains("mels"));
    for (edit, key) in [
        (Box::new(|t: &mut Tokens| t.start = 37) as Box<dyn Fn(&mut Tokens)>, "start"),
        (Box::new(|t: &mut Tokens| t.suppress.push(99)), "suppress"),
        (Box::new(|t: &mut Tokens| t.no_timestamps = 20), "no_timestamps"),
    ] {
        let mut bad = preprocessing();
        edit(&mut bad.tokens);
        assert!(bad.check(&config()).unwrap_err().to_string().contains(key));
    }
}
