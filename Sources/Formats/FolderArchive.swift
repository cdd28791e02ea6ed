import FoundationEssentials
import Glibc
import Tensors

/// Several files as one: each array goes by the name of its file and its own.
///
/// People save a file a layer: `attn_layer_0.npy` to `attn_layer_11.npy`. The names of files are
/// then what the names of arrays are elsewhere. A file that is not read is left out, by name;
/// `tokens.json` or `tokens.txt` beside them are the texts. The catch: files in folders inside
/// the folder are not looked at.
struct FolderArchive: TensorArchive {
  let path: String
  let entries: [ArrayEntry]
  let metadata: [String: String]
  let notes: [String]
  let remarks: [String]
  let leftOut: [LeftOut]
  /// Where each array is, and what it is called there.
  private let places: [String: (archive: any TensorArchive, name: String)]
  private let allTexts: [String: [String]]

  var format: String { "folder" }
  var textNames: [String] { sortedNaturally(Array(allTexts.keys)) { $0 } }

  /// A folder of more files is none of attention.
  private static let mostFiles = 1 << 16
  /// Endings of files that may hold arrays.
  private static let endings = [
    ".npy", ".npz", ".safetensors", ".pt", ".pth", ".bin", ".pkl", ".pickle", ".csv", ".tsv",
  ]

  /// Whether a path is a folder; false where there is nothing.
  static func isFolder(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }

  /// Every file of a folder that may hold arrays. Throws `unsupported` for Zarr, `empty` where no
  /// such file is, and what opening throws where none of them opens.
  init(folder: String, options: ArchiveOptions) throws(FormatError) {
    let names = try Self.names(folder)
    if names.contains(where: { [".zarray", ".zgroup", "zarr.json"].contains($0) }) {
      let name = lastComponent(folder)
      throw FormatError(
        .unsupported,
        """
        this is a Zarr folder, which is not read; python3 -c 'import zarr, numpy; \
        numpy.save("dump.npy", zarr.open("\(name)")[:])' converts it
        """,
        file: folder)
    }
    let files = names.filter { name in
      !name.hasPrefix(".") && Self.endings.contains { name.lowercased().hasSuffix($0) }
        && !Self.isFolder(folder + "/" + name)
    }
    guard !files.isEmpty else {
      throw FormatError(
        .notAFile,
        """
        this is a directory without any dump (\(Self.endings.prefix(4).joined(separator: ", ")) \
        ...); name a file, or the folder inside it that has them
        """,
        file: folder)
    }
    try self.init(
      sortedNaturally(files) { $0 }.map { folder + "/" + $0 }, path: folder, options: options)
    guard let texts = ["tokens.json", "tokens.txt"].first(where: names.contains) else { return }
    do throws(FormatError) {
      self = FolderArchive(self, texts: ["tokens": try readTexts(folder + "/" + texts)])
    } catch {
      self = FolderArchive(self, leftOut: [LeftOut(name: texts, why: error.message)])
    }
  }

  /// The files named, as one dump that goes by `path`. Throws what opening the first one throws
  /// where none opens.
  init(_ files: [String], path: String, options: ArchiveOptions) throws(FormatError) {
    self.path = path
    var entries: [ArrayEntry] = [], leftOut: [LeftOut] = [], refusal: FormatError?
    var places: [String: (any TensorArchive, String)] = [:], texts: [String: [String]] = [:]
    var metadata: [String: String] = [:], notes: [String] = [], remarks: [String] = []
    for file in files {
      let archive: any TensorArchive
      do throws(FormatError) {
        archive = try openArchive(file, options: options)
      } catch {
        refusal = refusal ?? error
        leftOut.append(LeftOut(name: lastComponent(file), why: error.message))
        continue
      }
      let stem = Self.stem(file)
      func name(_ own: String) -> String { own == "arr_0" ? stem : "\(stem).\(own)" }
      let call = stem == "inputs" ? Self.call(archive.entries) : [:]
      for entry in archive.entries {
        let name = call[entry.name] ?? name(entry.name)
        guard places[name] == nil else {
          let what = "\(entry.name) of \(lastComponent(file))"
          leftOut.append(LeftOut(name: what, why: "another file has an array \(name)"))
          continue
        }
        places[name] = (archive, entry.name)
        entries.append(ArrayEntry(name: name, dtype: entry.dtype, shape: entry.shape))
      }
      for text in archive.textNames { texts[text] = texts[text] ?? archive.texts(text) }
      metadata.merge(archive.metadata) { first, _ in first }
      for note in archive.notes where !notes.contains(note) { notes.append(note) }
      for remark in archive.remarks where !remarks.contains(remark) { remarks.append(remark) }
      leftOut += archive.leftOut
    }
    if entries.isEmpty, let refusal {
      throw FormatError(
        refusal.code,
        """
        no file of this directory opens; the first one, \(lastComponent(refusal.file)): \
        \(refusal.message)
        """,
        file: path)
    }
    (self.metadata, self.notes, self.leftOut) = (metadata, notes, leftOut)
    self.remarks = ["\(files.count) files are read as one dump"] + remarks
    (self.places, allTexts) = (places, texts)
    self.entries = sortedNaturally(entries, by: \.name)
  }

  /// The arguments of one call that FlashInfer recorded, `inputs.safetensors` or `inputs.pt` in a
  /// folder of its own: by name, or by place where the first three are `[tokens, heads, dim]` as q,
  /// k and v are. Nothing for any other call.
  private static func call(_ entries: [ArrayEntry]) -> [String: String] {
    var names: [String: String] = [:]
    for (role, words) in [("q", ["q", "query"]), ("k", ["k", "key"]), ("v", ["v", "value"])] {
      for word in words where entries.contains(where: { $0.name == "kwarg_\(word)" }) {
        names["kwarg_\(word)"] = "flashinfer.\(role)"
      }
    }
    let shapes = (0..<3).map { place in entries.first { $0.name == "arg_\(place)" }?.shape }
    guard let q = shapes[0], let k = shapes[1], let v = shapes[2], q.rank == 3, k.rank == 3,
      v.rank == 3, q[2] == k[2], k[0] == v[0], k[1] == v[1], k[1] > 0, q[1] % k[1] == 0
    else { return names }
    return names.merging(
      ["arg_0": "flashinfer.q", "arg_1": "flashinfer.k", "arg_2": "flashinfer.v"]
    ) { own, _ in own }
  }

  /// The same with the texts of the tokens, or with what is wrong with them.
  private init(
    _ other: FolderArchive, texts: [String: [String]] = [:], leftOut: [LeftOut] = []
  ) {
    (path, entries, metadata, notes) = (other.path, other.entries, other.metadata, other.notes)
    (remarks, places) = (other.remarks, other.places)
    self.leftOut = leftOut + other.leftOut
    allTexts = other.allTexts.merging(texts) { own, _ in own }
  }

  /// Names in a folder. Throws `unreadable`, and `tooLarge` for more than anybody saves.
  static func names(_ folder: String) throws(FormatError) -> [String] {
    guard let directory = opendir(folder) else {
      throw FormatError(.unreadable, "the folder cannot be read; ask its owner", file: folder)
    }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      names.append(
        withUnsafePointer(to: &entry.pointee.d_name) { name in
          name.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        })
      guard names.count < mostFiles else {
        throw FormatError(.tooLarge, "holds more than \(mostFiles) files", file: folder)
      }
    }
    return names
  }

  /// The name of a file without folders and ending: what its only array is called.
  static func stem(_ file: String) -> String {
    let name = lastComponent(file)
    return endings.first { name.lowercased().hasSuffix($0) }.map { String(name.dropLast($0.count)) }
      ?? name
  }

  func tensor(_ name: String) throws(FormatError) -> Tensor {
    guard let place = places[name] else {
      throw FormatError(.missing, "there is no array of this name", file: path, place: name)
    }
    return try place.archive.tensor(place.name)
  }

  func sample(_ name: String, elements: Int) throws(FormatError) -> [Float] {
    guard let place = places[name] else {
      throw FormatError(.missing, "there is no array of this name", file: path, place: name)
    }
    return try place.archive.sample(place.name, elements: elements)
  }

  func texts(_ name: String) -> [String]? { allTexts[name] }
}
