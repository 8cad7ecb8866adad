//! What PyTorch wrote is read; what could do harm, or lies, is refused.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::checkpoint::{Checkpoint, Dtype, Form, read};

/// `torch.save` of one `OrderedDict`, by `PyTorch` 2, in both forms.
const ARCHIVE: &[u8] = include_bytes!("data/archive.pt");
const LEGACY: &[u8] = include_bytes!("data/legacy.pt");

fn open(bytes: &[u8]) -> Result<Checkpoint, String> {
    read("x.pt", &bytes.to_vec().into()).map_err(|error| error.to_string())
}

fn floats(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    let data = checkpoint.get(name).unwrap().data();
    data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

#[test]
fn both_forms_are_read_with_their_views() {
    for file in [ARCHIVE, LEGACY] {
        let checkpoint = open(file).unwrap();
        assert_eq!(checkpoint.form, Form::StateDict);
        let shape = |name: &str| checkpoint.get(name).unwrap().shape().to_vec();
        assert_eq!(
            (shape("w"), floats(&checkpoint, "w")),
            (vec![2, 3], vec![0., 1., 2., 3., 4., 5.])
        );
        let turned = floats(&checkpoint, "turned");
        assert_eq!((shape("turned"), turned), (vec![3, 2], vec![0., 3., 1., 4., 2., 5.]));
        assert_eq!((shape("part"), floats(&checkpoint, "part")), (vec![1, 2], vec![4., 5.]));
        assert_eq!(floats(&checkpoint, "parameter"), [0.5]);
        assert_eq!((shape("none"), floats(&checkpoint, "none")), (vec![0, 4], vec![]));
        for (name, dtype, bytes) in [
            ("half", Dtype::F16, &[0, 60, 0, 64][..]),
            ("brain", Dtype::BF16, &[128, 63]),
            ("count", Dtype::I64, &[7, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            let tensor = checkpoint.get(name).unwrap();
            assert_eq!((tensor.dtype(), &tensor.data()[..]), (dtype, bytes), "{name}");
        }
        assert_eq!(checkpoint.iter().count(), 8);
    }
}

#[test]
fn a_file_that_is_cut_short_is_refused_wherever_it_ends() {
    for file in [ARCHIVE, LEGACY] {
        for end in 0..file.len() {
            assert!(open(&file[..end]).is_err(), "{end} of {}", file.len());
        }
    }
}

#[test]
fn a_byte_that_was_changed_makes_no_other_harm_than_a_refusal() {
    for file in [ARCHIVE, LEGACY] {
        for at in 0..file.len() {
            for value in [0, 0x7f, 0xff, file[at] ^ 1] {
                let mut changed = file.to_vec();
                changed[at] = value;
                match open(&changed) {
                    Ok(checkpoint) => assert!(
                        checkpoint.iter().all(|(_, tensor)| tensor.data().len() <= file.len())
                    ),
                    Err(error) => assert!(
                        error.starts_with("x.pt: ")
                            && error.chars().count() < 1200
                            && !error.contains(char::is_control),
                        "{at}: {error}"
                    ),
                }
            }
        }
    }
}

/// A zip archive with `pickle` and one storage, `0`, of four bytes.
fn archive(pickle: &[u8]) -> Vec<u8> {
    archive_of(pickle, &[0, 0, 128, 63])
}

fn archive_of(pickle: &[u8], storage: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in [("m/data.pkl", pickle), ("m/data/0", storage)] {
        zip.start_file(name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = vec![b'X'];
    bytes.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    bytes.extend(text.bytes());
    bytes
}

/// A pickle of `{"w": value}`.
fn dict(value: &[u8]) -> Vec<u8> {
    [b"\x80\x02}", &text("w")[..], value, b"s."].concat()
}

/// A tensor of the storage `0`, which says that it has so many elements.
fn tensor(elements: u8, offset: u8, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let tuple = |sizes: &[u8]| {
        let items: Vec<u8> = sizes.iter().flat_map(|&size| [b'K', size]).collect();
        [b"(", &items[..], b"t"].concat()
    };
    let storage = [b"(", &text("storage")[..], b"ctorch\nFloatStorage\n", &text("0"), &text("cpu")];
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n(".as_slice(),
        &storage.concat(),
        &[b'K', elements, b't', b'Q', b'K', offset],
        &tuple(shape),
        &tuple(strides),
        b"\x89}tR",
    ]
    .concat()
}

fn refused(pickle: &[u8]) -> String {
    open(&archive(pickle)).unwrap_err()
}

#[test]
fn a_pickle_that_calls_is_refused_by_what_it_calls() {
    let system = dict(&[b"cos\nsystem\n", &text("true")[..], b"\x85R"].concat());
    assert!(refused(&system).contains("os.system, which is not called"), "{}", refused(&system));
    let eval = dict(b"cbuiltins\neval\n)R");
    assert!(refused(&eval).contains("builtins.eval"));
    // The same by the opcodes of later protocols, and by an instance's.
    let later = dict(b"\x8c\x02os\x8c\x06system\x93)R");
    assert!(refused(&later).contains("SHORT_BINUNICODE"), "{}", refused(&later));
    let stacked = dict(&[&text("os")[..], &text("system"), b"\x93)R"].concat());
    assert!(refused(&stacked).contains("STACK_GLOBAL"));
    assert!(refused(&dict(b"(ios\nsystem\n")).contains("INST"));
    assert!(refused(&dict(b"ccollections\nOrderedDict\n)\x81")).contains("NEWOBJ"));
    assert!(refused(b"\xfe").contains("0xfe"));
}

/// [`tensor`], of another storage.
fn tensor_of(storage: &str) -> Vec<u8> {
    let before = b"FloatStorage";
    let mut pickle = tensor(1, 0, &[1], &[1]);
    let at = pickle.windows(before.len()).position(|part| part == before).unwrap();
    pickle.splice(at..at + before.len(), storage.bytes());
    pickle
}

#[test]
fn numbers_that_are_no_weights_are_read_by_name_and_other_tensors_refused_by_theirs() {
    for (storage, dtype, bytes) in [
        ("ComplexFloatStorage", Dtype::C64, 8),
        ("ComplexDoubleStorage", Dtype::C128, 16),
        ("BoolStorage", Dtype::Bool, 1),
    ] {
        let file = archive_of(&dict(&tensor_of(storage)), &vec![0; bytes]);
        let checkpoint = open(&file).unwrap();
        let read = checkpoint.get("w").unwrap();
        assert_eq!((read.dtype(), read.dtype().is_weight()), (dtype, false));
    }
    for name in ["torch\nQInt8Storage", "torch._utils\n_rebuild_qtensor"] {
        let refusal = refused(&dict(&[b"c", name.as_bytes(), b"\n)R"].concat()));
        let called = format!("{}, which is not called", name.replace('\n', "."));
        assert!(refusal.contains("dense tensors") && refusal.contains(&called), "{refusal}");
    }
}

#[test]
fn a_known_name_is_applied_to_its_own_arguments_only() {
    let name = b"ctorch._utils\n_rebuild_tensor_v2\n";
    assert!(refused(&dict(&[name, &b")R"[..]].concat())).contains("6 or 7 arguments"));
    assert!(refused(&dict(&[name, &b"NR"[..]].concat())).contains("tuple of arguments"));
    assert!(refused(&dict(b"ctorch\nFloatStorage\n)R")).contains("its own arguments"));
    assert!(refused(&dict(b"N)R")).contains("a name to apply"));
    assert!(refused(&dict(b"K\x01Q")).contains("storage's identity"));
    assert!(refused(&dict(b"K\x01Nb")).contains("attributes of a dict"));
}

#[test]
fn what_is_no_dict_of_tensors_is_refused() {
    for (pickle, words) in [
        (b"\x80\x02K\x01.".to_vec(), "a dict of tensors, got an int"),
        (dict(b"K\x01"), "tensor \"w\": expected a tensor (a checkpoint's state dict"),
        (dict(b"}"), "must be saved alone), got a dict"),
        (b"}K\x01K\x02s.".to_vec(), "names of tensors, got an int"),
        (b".".to_vec(), "a value on the stack"),
        (b"}a.".to_vec(), "value on the stack"),
        (b"]}}s.".to_vec(), "a dict to set items of, got a list"),
        (b"}}}s.".to_vec(), "names of tensors"),
        (b"}u.".to_vec(), "a mark"),
        (b"h\x05.".to_vec(), "the memo"),
        (b"}(K\x01u.".to_vec(), "a value for each key"),
        (b"X\xff\xff\xff\xffw.".to_vec(), "an end too soon"),
    ] {
        let error = refused(&pickle);
        assert!(error.contains(words), "{words}: {error}");
    }
    let nested = [&b")"[..], &b"\x85".repeat(1_000_000), b"."].concat();
    assert!(refused(&nested).contains("got a tuple"));
    let endless = b"N".repeat((1 << 22) + 1);
    assert!(refused(&endless).contains("opcodes"));
}

#[test]
fn a_view_must_lie_in_its_storage() {
    assert!(open(&archive(&dict(&tensor(1, 0, &[1], &[1])))).is_ok());
    for (elements, offset, shape, strides) in [
        (1, 0, &[2][..], &[1][..]),
        (1, 1, &[1], &[1]),
        (1, 0, &[1], &[]),
        (1, 0, &[2, 2], &[0, 0]),
        (1, 0, &[255; 8], &[255; 8]),
        (2, 0, &[2], &[1]),
        (0, 0, &[0], &[1]),
    ] {
        let error = refused(&dict(&tensor(elements, offset, shape, strides)));
        assert!(error.contains("storage"), "{shape:?}: {error}");
    }
    let ranks = refused(&dict(&tensor(1, 0, &[1; 9], &[1; 9])));
    assert!(ranks.contains("at most 8 dimensions, got 9"), "{ranks}");
    let negative = dict(&tensor(1, 0, &[1], &[1])).iter().position(|&b| b == b'Q').unwrap();
    let mut pickle = dict(&tensor(1, 0, &[1], &[1]));
    pickle.splice(negative + 1..negative + 3, *b"J\xff\xff\xff\xff");
    assert!(refused(&pickle).contains("0 or more, got -1"));
}

/// `pickle` with its storage `0` under another key.
fn keyed(pickle: &[u8], key: &str) -> Vec<u8> {
    let old = text("0");
    let at = pickle.windows(old.len()).position(|window| window == old).unwrap();
    [&pickle[..at], &text(key), &pickle[at + old.len()..]].concat()
}

#[test]
fn a_key_is_short_and_an_error_repeats_no_more_than_a_line_of_a_file() {
    let whole = dict(&tensor(1, 0, &[1], &[1]));
    assert!(refused(&keyed(&whole, &"k".repeat(257))).contains("storage's identity"));
    let named = refused(&keyed(&whole, &format!("\x1b[2J{}", "k".repeat(200))));
    assert!(named.contains("u{1b}[2J") && !named.contains('\x1b'), "{named}");
    // The version of the older form may be anything.
    let magic = &LEGACY[..15];
    let pickles = [&text(&"x".repeat(1 << 20))[..], b".N.N.N."].concat();
    let error = open(&[magic, &pickles].concat()).unwrap_err();
    assert!(error.contains("version 1001, got a text"), "{error}");
}

#[test]
fn entries_that_lie_over_each_other_are_refused() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let one = tensor(255, 0, &[255], &[1]);
    let two = [&text("a")[..], &one, b"s", &text("b"), &keyed(&one, "1"), b"s."].concat();
    let pickle = [b"\x80\x02}", &two[..]].concat();
    let floats = [0; 4 * 255];
    for (name, bytes) in [("m/data.pkl", &pickle[..]), ("m/data/0", &floats), ("m/data/1", b"")] {
        zip.start_file(name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    let mut file = zip.finish().unwrap().into_inner();
    let entries: Vec<usize> =
        (0..file.len()).filter(|&at| file[at..].starts_with(b"PK\x01\x02")).collect();
    // Checksum, sizes and place of the first storage, said of the second as well.
    for part in [16..28, 42..46] {
        let first = entries[1] + part.start..entries[1] + part.end;
        file.copy_within(first, entries[2] + part.start);
    }
    let error = open(&file).unwrap_err();
    assert!(error.contains("m/data/1") && error.contains("over others"), "{error}");
}

#[test]
fn an_archive_whose_entries_lie_is_refused() {
    let good = archive(&dict(&tensor(1, 0, &[1], &[1])));
    let edit = |from: &[u8], to: &[u8]| {
        let mut file = good.clone();
        for at in 0..file.len() - from.len() {
            if file[at..].starts_with(from) {
                file[at..at + to.len()].copy_from_slice(to);
            }
        }
        open(&file)
    };
    // The storage's bytes, behind the header that has their checksum.
    assert!(edit(&[0, 0, 128, 63], &[0, 0, 0, 64]).unwrap_err().contains("checksum"));
    assert!(edit(b"m/data/0", b"m/data/1").unwrap_err().contains("m/data/0"));
    assert!(edit(b"m/data.pkl", b"m/data.pk_").unwrap_err().contains("data.pkl"));
    // Every number of the directory, one byte at a time: no panic, and never another tensor.
    let directory = good.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    for at in directory..good.len() {
        for value in [0, 1, 8, 0x7f, 0xff] {
            let mut file = good.clone();
            file[at] = value;
            if let Ok(checkpoint) = open(&file) {
                assert_eq!(floats(&checkpoint, "w"), [1.0]);
            }
        }
    }
}

#[test]
fn legacy_storages_are_those_that_the_tensors_name() {
    let count = LEGACY.windows(8).rposition(|w| w == [6, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    let mut file = LEGACY.to_vec();
    file[count] = 5;
    assert!(open(&file).unwrap_err().contains("6 elements of F32"));
    file[count..count + 8].copy_from_slice(&[0xff; 8]);
    assert!(open(&file).unwrap_err().contains("all of storage"));
    let mut file = LEGACY.to_vec();
    file.push(0);
    assert!(open(&file).unwrap_err().contains("1 bytes"));
    let at = LEGACY.windows(13).position(|w| w == b"little_endian").unwrap();
    let mut file = LEGACY.to_vec();
    file[at..at + 13].copy_from_slice(b"middle_endian");
    assert!(open(&file).unwrap_err().contains("byte order"));
}
