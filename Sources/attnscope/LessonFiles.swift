import ArgumentParser
import Formats
import Glibc
import Interface
import Lessons
import Synchronization

/// The lessons beside the program, and one named by hand. A lesson is a Markdown file in
/// `samples/lessons`; its name is the file's without the ending.
enum LessonFiles {
  /// Names in order of their number: `1-reading-a-map`, ...; empty when the folder is not
  /// found.
  static func names() -> [String] {
    guard let folder = try? Sample.path("lessons"), let open = opendir(folder) else { return [] }
    defer { closedir(open) }
    var names: [String] = []
    while let entry = readdir(open) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name.hasSuffix(".md"), name.first?.isNumber ?? false {
        names.append(String(name.dropLast(3)))
      }
    }
    return names.sorted {
      (Int($0.prefix(while: \.isNumber)) ?? 0, $0) < (Int($1.prefix(while: \.isNumber)) ?? 0, $1)
    }
  }

  /// Reads a lesson file and remembers where it lies. Throws `malformed` for what is no
  /// UTF-8, and what reading throws; faults of the lesson itself are the reader's `problems`.
  static func read(_ path: String) throws -> LessonReader {
    let bytes = try Desk.whole(path)
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw FormatError(.malformed, "is not a text in UTF-8", file: path)
    }
    let file = path.split(separator: "/").last.map(String.init) ?? path
    let name = file.hasSuffix(".md") ? String(file.dropLast(3)) : file
    folders.withLock { $0[name] = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "." }
    return LessonReader(text, name: name)
  }

  /// What a lesson is about: the sample, or the files it names, which are looked for beside
  /// the lesson and then among the samples. Throws what opening them throws.
  static func dumps(_ lesson: Lesson) throws -> [Dump] {
    guard !lesson.files.isEmpty else { return [try Dump.open(try Sample.path())] }
    return try lesson.files.map { file in
      let beside = (folders.withLock { $0[lesson.name] } ?? ".") + "/" + file
      if file.hasPrefix("/") { return try Dump.open(file) }
      return try Dump.open(access(beside, R_OK) == 0 ? beside : try Sample.path(file))
    }
  }

  /// Where the lessons that were read lie, by name: a lesson names its files relative to
  /// itself.
  private static let folders = Mutex<[String: String]>([:])

  /// A lesson by its name, its number, a part of its name, or its file; with every problem in
  /// the error. Throws `missing` with the list of those there are, `malformed` when it cannot
  /// be played.
  static func lesson(_ wanted: String) throws -> Lesson {
    var path = wanted
    if !wanted.hasSuffix(".md") {
      let all = names()
      let hit =
        all.first { $0 == wanted } ?? all.first { $0.hasPrefix(wanted + "-") }
        ?? all.first { $0.contains(wanted.lowercased()) }
      guard let hit else {
        throw FormatError(
          .missing,
          all.isEmpty
            ? "no lessons are beside the program; set ATTNSCOPE_SAMPLES to their folder's parent"
            : "there is no lesson of this name; there are \(all.joined(separator: ", "))",
          file: wanted)
      }
      path = try Sample.path("lessons/\(hit).md")
    }
    let reader = try read(path)
    guard let lesson = reader.lesson else {
      throw FormatError(
        .malformed, reader.problems.map(\.description).joined(separator: "\n  "), file: path)
    }
    return lesson
  }
}
