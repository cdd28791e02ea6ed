import Tensors

/// Opens a file by what its first bytes say it is; its name does not matter. A folder is
/// opened as the arrays of all its files.
///
/// Throws `missing`, `notAFile`, `empty` or `unreadable` from the mapping, what the format's
/// own reader throws, and `unsupported` for everything else, with the way out when the format
/// is a known one.
public func openArchive(_ path: String, options: ArchiveOptions = .init()) throws(FormatError)
  -> any TensorArchive
{
  if FolderArchive.isFolder(path) {
    let names = try FolderArchive.names(path)
    if let calls = try FlashInferArchive(path, names: names, request: options.request) {
      return calls
    }
    return try FolderArchive(folder: path, options: options)
  }
  let file = try MappedFile(path, isFollowed: true)
  let bytes = file.bytes
  // The framing is proved before anything is guessed: the length of a header may begin with the
  // bytes of any magic.
  if bytes.count >= 9, bytes[8] == UInt8(ascii: "{"),
    let length = bytes.integer(UInt64.self, at: 0), length <= UInt64(bytes.count - 8)
  {
    return try SafetensorsFile(file)
  }
  if bytes.starts(with: NpyHeader.magic) { return try NpyFile(file, options: options) }
  if bytes.starts(with: [0x50, 0x4b, 3, 4]) || bytes.starts(with: [0x50, 0x4b, 5, 6]) {
    let directory = try ZipDirectory(file)
    let isTorch = directory.entries.contains { $0.name.hasSuffix("/data.pkl") }
    return isTorch
      ? try PickleArchive.zip(file, directory)
      : try NpzArchive(file, directory, options: options)
  }
  if let refusal = KnownFormat.refusal(bytes, path: path) {
    throw FormatError(.unsupported, refusal, file: path)
  }
  if PickleArchive.isPickle(bytes) { return try PickleArchive.stream(file) }
  if bytes.count >= 9, bytes[8] == UInt8(ascii: "{") { return try SafetensorsFile(file) }
  if let table = try TextTable(file) { return table }
  if bytes.count < 16 {
    throw FormatError(
      .truncated, "only \(bytes.count) bytes, too short for any format; copy it again", file: path)
  }
  throw FormatError(.unsupported, KnownFormat.unknown(bytes, path: path), file: path)
}

/// Files that people bring and that are not read: what each is, and the one line that makes a
/// dump of it.
enum KnownFormat {
  /// What a file begins with, what it is called, and the way out. A line of Python names the
  /// file as FILE.
  private static let table: [(magic: [UInt8], name: String, wayOut: String)] = [
    (
      Array("GGUF".utf8), "a GGUF model, not an attention dump",
      "attnscope run --model runs it, attnscope capture makes a dump"
    ),
    (
      [0x89] + Array("HDF".utf8), "HDF5",
      """
      python3 -c 'import h5py, numpy; f = h5py.File("FILE"); numpy.savez("dump.npz", **{k: \
      f[k][()] for k in f if hasattr(f[k], "shape")})' converts its arrays
      """
    ),
    (
      Array("PAR1".utf8), "Parquet, a table",
      """
      python3 -c 'import pandas, numpy; numpy.save("dump.npy", \
      pandas.read_parquet("FILE").to_numpy())' converts one map
      """
    ),
    ([0x1f, 0x8b], "compressed with gzip", "gunzip -k FILE unpacks it"),
    ([0x28, 0xb5, 0x2f, 0xfd], "compressed with zstd", "unzstd FILE unpacks it"),
    ([0xfd, 0x37, 0x7a, 0x58, 0x5a], "compressed with xz", "unxz -k FILE unpacks it"),
    ([0x42, 0x5a, 0x68], "compressed with bzip2", "bunzip2 -k FILE unpacks it"),
    (
      Array("version https://git-lfs".utf8), "a pointer of Git LFS, not the file itself",
      "git lfs pull, in the folder of the repository, fetches the file"
    ),
    (
      Array("\u{89}PNG".unicodeScalars.map { UInt8($0.value) }), "a picture",
      "a dump holds the numbers that it was drawn from"
    ),
  ]

  /// What to say of a file whose kind is known and not read; nil for the unknown.
  static func refusal(_ bytes: UnsafeRawBufferPointer, path: String) -> String? {
    let name = lastComponent(path)
    if let known = table.first(where: { bytes.starts(with: $0.magic) }) {
      let wayOut = known.wayOut.replacing("FILE", with: name)
      return known.name.hasPrefix("compressed")
        ? "this is \(known.name); \(wayOut)" : "this is \(known.name), which is not read; \(wayOut)"
    }
    let head = bytes.text(0..<min(bytes.count, 512)).drop { $0.isWhitespace }
    let lower = head.lowercased()
    if lower.hasPrefix("<!doctype") || lower.hasPrefix("<html") || lower.hasPrefix("<?xml") {
      return
        """
        this is a page of HTML: what was downloaded is a page about the file; download the file \
        itself (of Hugging Face and GitHub the link "raw" or "download")
        """
    }
    if head.prefix(200).contains(/"(vertical_and_slash|stream_llm|block_sparse)"/) {
      return
        """
        this is MInference's table of patterns: which pattern each head was assigned, and no \
        attention; attnscope report DUMP --patterns FILE lays it beside what a dump shows
        """
    }
    // Before a header that begins with the same byte: `{` and `[` stand first in JSON alone.
    if let first = head.first, first == "{" || first == "[", bytes[0] == first.asciiValue {
      return
        """
        this is JSON text, which is not read; python3 -c 'import json, numpy; \
        numpy.savez("dump.npz", attention=numpy.array(json.load(open("\(name)"))["attention"]))' \
        converts it, where "attention" is the key of its numbers
        """
    }
    return nil
  }

  /// What to say of bytes that nothing is known of: numbers without a header are the commonest.
  static func unknown(_ bytes: UnsafeRawBufferPointer, path: String) -> String {
    let name = lastComponent(path)
    let known = "not a safetensors, npy or npz file, nor one of torch.save"
    guard bytes.count % 4 == 0, [".f32", ".raw", ".bin", ".dat"].contains(where: name.hasSuffix)
    else {
      return "\(known); save arrays with numpy.savez or safetensors.numpy.save_file"
    }
    return
      """
      \(known). Raw numbers without a header do not say their shape (\(bytes.count / 4) of float32 \
      fit); python3 -c 'import numpy; numpy.save("dump.npy", numpy.fromfile("\(name)", \
      "float32").reshape(HEADS, QUERIES, KEYS))' adds it
      """
  }
}
