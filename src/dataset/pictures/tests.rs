use std::fs;

use super::*;
use crate::dataset::OnBadSample;
use crate::media::picture::Picture;

/// A PNG of one pixel.
fn png(grey: u8) -> Vec<u8> {
    Picture::grey(1, 1, vec![grey]).unwrap().to_png().unwrap()
}

fn place(directory: &Path, path: &str, bytes: &[u8]) {
    let path = directory.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Two classes of ten pictures each.
fn folder(below: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for index in 0..10 {
        let (cat, dog) = (format!("{below}cat/{index}.png"), format!("{below}dog/sub/{index}.png"));
        place(directory.path(), &cat, &png(index));
        place(directory.path(), &dog, &png(100 + index));
    }
    directory
}

fn config(text: &str) -> Config {
    toml::from_str(&format!("directory = \"nowhere\"\n{text}")).unwrap()
}

fn read(directory: &Path, recipe: &str) -> Result<Pictures, String> {
    open(&config(recipe), directory, &mut BadSamples::default()).map_err(|error| error.to_string())
}

/// The pixel of every picture of a part, and its class.
fn pixels(part: &Part) -> Vec<(Vec<u8>, usize)> {
    (0..part.len()).map(|i| (part.picture(i).unwrap().to_png().unwrap(), part.label(i))).collect()
}

#[test]
fn a_folder_is_divided_by_its_seed_alone() {
    let directory = folder("");
    let one = read(directory.path(), "validation = 0.1\ntest = 0.2").unwrap();
    let count = [one.train.len(), one.validation.as_ref().unwrap().len(), one.test.len()];
    assert_eq!((one.format, count), (Format::Folder, [14, 2, 4]));
    assert_eq!(one.labels, ["cat", "dog"]);
    let mut all = [&one.train, one.validation.as_ref().unwrap(), &one.test].map(pixels).concat();
    all.sort();
    let mut expected: Vec<_> = (0..10).flat_map(|i| [(png(i), 0), (png(100 + i), 1)]).collect();
    expected.sort();
    assert_eq!(all, expected);

    let again = read(directory.path(), "validation = 0.1\ntest = 0.2").unwrap();
    assert_eq!((pixels(&again.test), again.digest), (pixels(&one.test), one.digest));
    // Another share of validation leaves the test part as it was.
    let other = read(directory.path(), "validation = 0.4\ntest = 0.2").unwrap();
    assert_eq!(pixels(&other.test), pixels(&one.test));
    let other = read(directory.path(), "validation = 0.1\ntest = 0.2\nseed = 1").unwrap();
    assert_ne!(pixels(&other.test), pixels(&one.test));

    let (test, digest) = open_test(
        &config("test = 0.2\nvalidation = 0.1"),
        directory.path(),
        &mut BadSamples::default(),
    )
    .unwrap();
    assert_eq!(pixels(&test), pixels(&one.test));
    place(directory.path(), "cat/0.png", &png(77));
    let changed = read(directory.path(), "validation = 0.1\ntest = 0.2").unwrap();
    assert_ne!(changed.digest, one.digest);
    assert_ne!(digest, one.digest, "of the test pictures alone");
}

#[test]
fn parts_that_lie_apart_are_taken_as_they_are() {
    let directory = folder("train/");
    place(directory.path(), "test/dog/a.png", &png(1));
    place(directory.path(), "validation/cat/a.png", &png(2));
    let made = read(directory.path(), "").unwrap();
    assert_eq!(pixels(&made.test), [(png(1), 1)]);
    assert_eq!(pixels(&made.validation.unwrap()), [(png(2), 0)]);
    assert_eq!(made.train.len(), 20);
    let error = read(directory.path(), "test = 0.5").err().unwrap();
    assert!(error.contains("data.test: 0.5 is to be drawn"), "{error}");
    let labelled = config("labels = [\"cat\", \"dog\"]");
    let mut bad = BadSamples::default();
    let (test, _) = open_test(&labelled, directory.path(), &mut bad).unwrap();
    assert_eq!(test.len(), 1);
    // What nothing divides is all there is to measure on.
    let (test, _) = open_test(&labelled, &directory.path().join("train"), &mut bad).unwrap();
    assert_eq!(test.len(), 20);
    fs::remove_dir_all(directory.path().join("test/dog")).unwrap();
    let error = read(directory.path(), "").err().unwrap();
    assert!(error.contains("the test part of") && error.contains("is empty"), "{error}");
}

#[test]
fn nothing_in_a_folder_vanishes() {
    let directory = folder("");
    let at = directory.path();
    place(at, "stray.png", &png(9));
    place(at, ".hidden.png", &png(9));
    place(at, "dog/sub/deep/1.png", &png(9));
    let error = read(at, "test = 0.5").err().unwrap();
    assert!(error.contains("dog/sub/deep: the folder lies too deep"), "{error}");
    let mut bad = BadSamples::new(OnBadSample::Skip);
    let made = open(&config("test = 0.5"), at, &mut bad).unwrap();
    assert_eq!(made.train.len() + made.test.len(), 20);
    let left_out = bad.left_out();
    assert!(left_out[1].contains("stray.png: it lies in no class's folder"), "{left_out:?}");
    assert_eq!(left_out.len(), 2);

    let directory = folder("train/");
    place(directory.path(), "val/cat/1.png", &png(9));
    for recipe in ["test = 0.5", "test = 0.5\nlabels = [\"cat\", \"dog\"]"] {
        let error = read(directory.path(), recipe).err().unwrap();
        assert!(error.contains("train, validation and test, got val beside"), "{error}");
    }
}

#[test]
fn a_bad_picture_is_named_or_left_out() {
    let directory = folder("");
    place(directory.path(), "cat/torn.png", &png(9)[..40]);
    place(directory.path(), "dog/notes.txt", b"not a picture");
    place(directory.path(), "dog/.hidden", b"passed over");
    place(directory.path(), "frog/1.png", &png(9));
    let recipe = "labels = [\"dog\", \"cat\"]\ntest = 0.5";
    let error = read(directory.path(), recipe).err().unwrap();
    assert!(error.contains("frog/1.png: the folder frog is no class"), "{error}");
    fs::remove_dir_all(directory.path().join("frog")).unwrap();
    let error = read(directory.path(), recipe).err().unwrap();
    assert!(error.contains("cat/torn.png") || error.contains("dog/notes.txt"), "{error}");

    place(directory.path(), "frog/1.png", &png(9));
    let mut bad = BadSamples::new(OnBadSample::Skip);
    let made = open(&config(recipe), directory.path(), &mut bad).unwrap();
    assert_eq!(made.train.len() + made.test.len(), 20);
    let mut left_out = bad.left_out();
    left_out.sort();
    assert_eq!(left_out.len(), 3);
    for (line, named) in left_out.iter().zip(["cat/torn.png", "dog/notes.txt", "frog/1.png"]) {
        assert!(line.contains(named), "{left_out:?}");
    }
    // Opened again, the same pictures are for the test.
    let mut bad = BadSamples::new(OnBadSample::Skip);
    let (test, _) = open_test(&config(recipe), directory.path(), &mut bad).unwrap();
    assert_eq!(pixels(&test), pixels(&made.test));
}

#[test]
fn what_changes_after_it_was_opened_is_told() {
    let directory = folder("");
    let made = read(directory.path(), "test = 0.5").unwrap();
    fs::remove_dir_all(directory.path().join("cat")).unwrap();
    let failed = (0..made.train.len()).find_map(|index| made.train.picture(index).err());
    assert!(failed.unwrap().to_string().contains("cannot be read"));
}

/// Records of a label and a picture whose planes are all 1, all 2 and all 3, but for the first red.
fn records(labels: &[u8]) -> Vec<u8> {
    let record = |&label: &u8| {
        let mut record = vec![label, 200 + label];
        record.extend([1; 1023]);
        record.extend([2; 1024]);
        record.extend([3; 1024]);
        record
    };
    labels.iter().flat_map(record).collect()
}

#[test]
fn cifar_batches_are_read_in_order() {
    let directory = tempfile::tempdir().unwrap();
    place(directory.path(), "data_batch_1.bin", &records(&[0, 1]));
    place(directory.path(), "data_batch_2.bin", &records(&[1]));
    place(directory.path(), "test_batch.bin", &records(&[0]));
    let error = read(directory.path(), "").err().unwrap();
    assert!(error.contains("data.labels") && error.contains("batches.meta.txt"), "{error}");
    place(directory.path(), "batches.meta.txt", b"airplane\nautomobile\n\n");
    let made = read(directory.path(), "").unwrap();
    assert_eq!((made.format, made.train.len(), made.test.len()), (Format::Cifar10, 3, 1));
    assert_eq!(made.labels, ["airplane", "automobile"]);
    let mut expected = [1, 2, 3].repeat(1024);
    expected[0] = 201;
    let expected = Picture::rgb(32, 32, expected).unwrap().to_png().unwrap();
    assert_eq!(pixels(&made.train)[1..], [(expected.clone(), 1), (expected, 1)]);
    assert!(made.train.place(1).ends_with("data_batch_1.bin, picture 2"));
    assert!(made.train.place(2).ends_with("data_batch_2.bin, picture 1"));
    let all = [records(&[0, 1]), records(&[1]), records(&[0])].concat();
    assert_eq!(made.digest, crate::package::sha256(&all));

    place(directory.path(), "data_batch_2.bin", &records(&[2, 1]));
    let error = read(directory.path(), "").err().unwrap();
    assert!(error.contains("data_batch_2.bin, picture 1: label 2: expected 0 to 1"), "{error}");
    let mut bad = BadSamples::new(OnBadSample::Skip);
    assert_eq!(open(&config(""), directory.path(), &mut bad).unwrap().train.len(), 3);
    assert_eq!(bad.count(), 1);
}

#[test]
fn cifar_batches_that_are_torn_or_missing_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    place(at, "batches.meta.txt", b"airplane\nautomobile\n");
    place(at, "data_batch_1.bin", &records(&[0, 1]));
    place(at, "data_batch_2.bin", &records(&[0, 1])[..3073 + 100]);
    place(at, "test_batch.bin", &records(&[0]));
    let error = read(at, "").err().unwrap();
    assert!(error.contains("data_batch_2.bin, picture 2: the file is cut off: 100 of"), "{error}");
    let mut bad = BadSamples::new(OnBadSample::Skip);
    let made = open(&config(""), at, &mut bad).unwrap();
    assert_eq!((made.train.len(), bad.count()), (3, 1));
    assert!(made.train.place(2).ends_with("data_batch_2.bin, picture 1"));

    place(at, "data_batch_2.bin", b"");
    let error = read(at, "").err().unwrap();
    assert!(
        error.contains("data_batch_2.bin: expected 1 to") && error.contains("0 bytes"),
        "{error}"
    );
    fs::remove_file(at.join("data_batch_2.bin")).unwrap();
    place(at, "data_batch_3.bin", &records(&[1]));
    let error = read(at, "").err().unwrap();
    assert!(error.contains("no data_batch_2.bin"), "{error}");
    place(at, "batches.meta.txt", b"air\xff");
    let error = read(at, "").err().unwrap();
    assert!(error.contains("batches.meta.txt cannot be read"), "{error}");
}

#[test]
fn a_directory_of_nothing_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let error = read(directory.path(), "").err().unwrap();
    assert!(error.contains("train-images-idx3-ubyte") && error.contains("none of them"), "{error}");
    let error = read(Path::new("/no/such/place"), "").err().unwrap();
    assert!(error.contains("no directory"), "{error}");
    let error = read(directory.path(), "format = \"idx\"").err().unwrap();
    assert!(error.contains("data.labels"), "{error}");
    for wrong in ["validation = 1.0", "test = -0.1", "test = 0.5\nvalidation = 0.5"] {
        assert!(read(directory.path(), wrong).err().unwrap().contains("data."), "{wrong}");
    }
}
