use super::*;
use crate::dataset::OnBadSample;

const GOOD: &str = r#"{"audio": "a.wav", "text": "one", "voice": "x", "split": "train"}

{"audio": "b.wav", "text": "two", "split": "real"}
"#;

fn directory(name: &str, list: &[u8]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(name), list).unwrap();
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        fs::write(directory.path().join(name).with_extension("wav"), name).unwrap();
    }
    directory
}

/// Text and split of every clip, what was left out, and the digest.
type Loaded = (Vec<(String, Split)>, Vec<String>, Digest);

const ALL: [Split; 4] = [Split::Train, Split::Validation, Split::Test, Split::Real];

fn load(directory: &Path, recipe: &str, policy: OnBadSample) -> Result<Loaded, String> {
    let config: Config = toml::from_str(&format!("directory = \"nowhere\"\n{recipe}")).unwrap();
    let mut bad = BadSamples::new(policy);
    let list = List::read(&config, Some(directory), &mut bad).map_err(|e| e.to_string())?;
    let decode = |_: &Clip, bytes: Bytes| {
        if bytes == "b" { Err("no sound".to_owned()) } else { Ok(()) }
    };
    let mut seen = Vec::new();
    let each = |clip: &Clip, _: Bytes, ()| {
        seen.push((clip.text.clone(), clip.split));
        Ok(())
    };
    let digest = list.load(&ALL, decode, &mut bad, each).map_err(|e| e.to_string())?;
    Ok((seen, bad.left_out(), digest))
}

#[test]
fn clips_come_in_order_and_the_digest_covers_their_bytes() {
    let list = GOOD.replace("b.wav", "c.wav");
    let directory = directory("clips.jsonl", list.as_bytes());
    let (seen, _, digest) = load(directory.path(), "", OnBadSample::Fail).unwrap();
    assert_eq!(seen, [("one".to_owned(), Split::Train), ("two".to_owned(), Split::Real)]);
    assert_eq!(digest, crate::package::sha256(format!("{list}ac").as_bytes()));
    let path = directory.path().join("clips.jsonl");
    assert_eq!(load(&path, "", OnBadSample::Fail).unwrap().2, digest, "--data may name the list");
}

#[test]
fn csv_reads_as_json_does() {
    let list = b"text,audio\n\"one,\ntwo\",a.wav\n\nthree, c.wav\n";
    let directory = directory("clips.csv", list);
    let (seen, ..) = load(directory.path(), "test = 0.5", OnBadSample::Fail).unwrap();
    assert_eq!(seen[0].0, "one,\ntwo");
    assert_eq!(seen[1].0, "three");
    let mut splits: Vec<_> = seen.iter().map(|(_, split)| *split).collect();
    splits.sort_unstable();
    assert_eq!(splits, [Split::Train, Split::Test]);
    let error = load(directory.path(), "list = \"other.csv\"", OnBadSample::Fail).unwrap_err();
    assert!(error.contains("other.csv"), "{error}");
}

#[test]
fn a_seed_draws_the_parts_that_the_list_does_not_name() {
    let line = |name| format!("{{\"audio\": \"{name}.wav\", \"text\": \"{name}\"}}\n");
    let list: String = ["a", "c", "d", "e", "f", "g", "h", "a"].map(line).concat();
    let directory = directory("clips.jsonl", list.as_bytes());
    let draw = |recipe: &str| load(directory.path(), recipe, OnBadSample::Fail).unwrap().0;
    let count = |clips: &[(String, Split)], split| clips.iter().filter(|c| c.1 == split).count();
    let drawn = draw("test = 0.25\nvalidation = 0.25");
    assert_eq!(ALL.map(|split| count(&drawn, split)), [4, 2, 2, 0]);
    assert_eq!(draw("test = 0.25\nvalidation = 0.25"), drawn);
    assert_ne!(draw("test = 0.25\nvalidation = 0.25\nseed = 1"), drawn);
    let config = Config::default();
    let mut bad = BadSamples::default();
    let list = List::read(&config, Some(directory.path()), &mut bad).unwrap().to_measure();
    assert!(list.clips.iter().all(|clip| clip.split == Split::Test));
}

#[test]
fn a_bad_line_is_named_by_file_and_number_or_left_out() {
    for (list, named) in [
        (GOOD.replace("real", "unreal"), "line 3: unknown variant `unreal`"),
        (GOOD.replace("voice", "colour"), "line 1: unknown field `colour`"),
        (GOOD.replace("a.wav", "missing.wav"), "line 1: missing.wav"),
        (GOOD.to_owned(), "line 3: b.wav: no sound"),
    ] {
        let directory = directory("clips.jsonl", list.as_bytes());
        let error = load(directory.path(), "", OnBadSample::Fail).unwrap_err();
        assert!(error.contains("clips.jsonl") && error.contains(named), "{error}");
        if !named.starts_with("line 1") {
            let (seen, left_out, _) = load(directory.path(), "", OnBadSample::Skip).unwrap();
            assert_eq!((seen.len(), left_out.len()), (1, 1));
            assert!(left_out[0].contains(named), "{left_out:?}");
        }
    }
    for (list, named) in [
        (&b"audio,text\na.wav\n"[..], "line 2: expected 2 fields"),
        (b"audio,text\na.wav,one\nc.wav,\xff\n", "line 3: expected UTF-8"),
        (b"audio,text,split\n\na.wav,one,none\n", "line 3: unknown variant"),
        (b"audio,words\na.wav,one\n", "line 1: expected a header"),
        (b"audio\na.wav\n", "no column \"text\""),
        (b"audio,text\n", "a clip a line"),
        (b"", "line 1"),
    ] {
        let directory = directory("clips.csv", list);
        let error = load(directory.path(), "", OnBadSample::Fail).unwrap_err();
        assert!(error.contains("clips.csv") && error.contains(named), "{error}");
    }
}

#[test]
fn splits_that_contradict_each_other_are_refused() {
    let refused = |list: &str, recipe: &str| {
        let directory = directory("clips.jsonl", list.as_bytes());
        load(directory.path(), recipe, OnBadSample::Skip).unwrap_err()
    };
    let mixed = GOOD.replace(", \"split\": \"real\"", "");
    let error = refused(&mixed, "");
    assert!(error.contains("line 3: expected a split"), "{error}");
    assert!(refused(GOOD, "test = 0.1").contains("data.test"));
    assert!(refused(GOOD, "validation = 1.5").contains("data.validation"));
    assert!(refused(&GOOD.replace("real", "validation"), "validation = 0.1").contains("list says"));
}
