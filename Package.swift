// swift-tools-version: 6.1
import Foundation
import PackageDescription

// The plan of the house: every room and the rooms it may import, and nothing else may be imported.
// The targets below are made from this table, and Tests/HouseTests reads the same table and every
// `import` line under Sources, and fails on one that is not listed here.
let rooms: [(name: String, imports: [String])] = [
  ("Kernels", []),
  ("Tensors", ["Kernels"]),
  ("Algebra", ["RealModule"]),
  ("CZlib", []),
  ("Formats", ["Tensors", "Kernels", "CZlib"]),
  ("Attention", ["Tensors", "Kernels"]),
  ("Models", ["Kernels", "Tensors", "Formats", "Attention", "HeapModule"]),
  ("Analysis", ["Tensors", "Attention", "Algebra"]),
  ("Methods", ["Tensors", "Attention", "Analysis", "Algebra", "HeapModule"]),
  ("Sessions", ["Tensors", "Attention", "Analysis"]),
  ("Wire", ["Tensors", "Formats", "Attention", "Analysis", "Sessions"]),
  (
    "Backends",
    [
      "Tensors", "Algebra", "Formats", "Attention", "Methods", "Analysis", "Models", "Sessions",
      "Wire",
    ]
  ),
  ("CPng", []),
  ("Pictures", ["CPng"]),
  ("Canvas", []),
  ("Lessons", ["Canvas"]),
  ("Interface", ["Attention", "Analysis", "Sessions", "Canvas", "Pictures", "Lessons"]),
  ("CNCurses", []),
  ("NCursesTerminal", ["Canvas", "CNCurses"]),
  (
    "attnscope",
    [
      "Kernels", "Tensors", "Formats", "Attention", "Models", "Methods", "Analysis", "Sessions",
      "Wire", "Backends", "Canvas", "Pictures", "Lessons", "Interface", "NCursesTerminal",
      "ArgumentParser",
    ]
  ),
]

// Outside packages, each with its reason.
let outside: [String: Target.Dependency] = [
  // Commands, flags, help and completions, with errors written for a person; Apple keeps it.
  "ArgumentParser": .product(name: "ArgumentParser", package: "swift-argument-parser"),
  // The priority queue of the tokenizers' merges and of evictions: a binary heap is not what this
  // project is about; Apple keeps it.
  "HeapModule": .product(name: "HeapModule", package: "swift-collections"),
  // exp, log, cos and their kin of Double under one name on every platform, for the algebra in
  // double precision; Apple keeps it.
  "RealModule": .product(name: "RealModule", package: "swift-numerics"),
]

let swift: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

// The rooms that compute over every key of every query are optimised in debug builds too, or a
// debug suite waits twenty times as long for the same numbers; assertions stay.
let computing: Set = [
  "Tensors", "Algebra", "Attention", "Models", "Analysis", "Methods", "Pictures", "Wire",
]
let optimised: [SwiftSetting] = [
  .unsafeFlags(["-O", "-assert-config", "Debug"], .when(configuration: .debug))
]

// ATTNSCOPE_STATIC=1 links these libraries from their archives, where the archives are, so that the
// program runs on a machine without them (`samples/install.sh`). Without it, and where an archive
// is missing, they are shared.
let staticLinking = Context.environment["ATTNSCOPE_STATIC"] == "1"
let archiveFolders = [
  "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib",
  "/usr/local/lib",
]

// One library, then those its archive needs that a shared library would bring itself:
// `link("ncursesw", "tinfo")`.
func link(_ name: String, _ needs: String...) -> [LinkerSetting] {
  let archives = ([name] + needs).map { "lib\($0).a" }
  let there = archives.allSatisfy { file in
    archiveFolders.contains { FileManager.default.fileExists(atPath: "\($0)/\(file)") }
  }
  guard staticLinking && there else { return [.linkedLibrary(name)] }
  return archives.map { .linkedLibrary(":\($0)") }
}

func target(_ room: (name: String, imports: [String])) -> Target {
  let needs = room.imports.map { outside[$0] ?? .byName(name: $0) }
  switch room.name {
  case "Kernels":
    return .target(
      name: room.name,
      cSettings: [.unsafeFlags(["-O2"], .when(configuration: .debug))],
      linkerSettings: [.linkedLibrary("m")])
  case "CNCurses":
    // ncursesw, the terminal library the screen stands on; from the system.
    return .target(name: room.name, linkerSettings: link("ncursesw", "tinfo"))
  case "CPng":
    // libpng, for figures as .png files; from the system (libpng-dev).
    return .target(
      name: room.name, linkerSettings: link("png", "z") + [.linkedLibrary("m")])
  case "CZlib":
    // zlib, for deflated members of .npz files (np.savez_compressed); from the system. Its module
    // map names no library: `Formats`, which alone imports it, does.
    return .systemLibrary(name: room.name, providers: [.apt(["zlib1g-dev"])])
  case "Formats":
    return .target(
      name: room.name, dependencies: needs, swiftSettings: swift, linkerSettings: link("z"))
  case "attnscope":
    return .executableTarget(name: room.name, dependencies: needs, swiftSettings: swift)
  default:
    return .target(
      name: room.name, dependencies: needs,
      exclude: room.name == "Methods" ? ["README.md"] : [],
      swiftSettings: swift + (computing.contains(room.name) ? optimised : []))
  }
}

// Tests may import any room; `Support` holds what several of them share.
let tests: [(name: String, needs: [String])] = [
  ("HouseTests", []),
  ("AlgebraTests", ["Support", "Algebra"]),
  ("AttentionTests", ["Support", "Kernels", "Tensors", "Attention"]),
  ("FormatsTests", ["Support", "Kernels", "Tensors", "Formats"]),
  ("ModelsTests", ["Support", "Kernels", "Tensors", "Formats", "Attention", "Models", "Methods"]),
  ("WireTests", ["Support", "Tensors", "Formats", "Attention", "Analysis", "Sessions", "Wire"]),
  ("AnalysisTests", ["Support", "Tensors", "Attention", "Analysis"]),
  ("MethodsTests", ["Support", "Algebra", "Tensors", "Attention", "Analysis", "Methods"]),
  ("CanvasTests", ["Canvas"]),
  ("PicturesTests", ["Pictures"]),
  ("LessonsTests", ["Support", "Canvas", "Lessons"]),
  (
    "InterfaceTests",
    [
      "Support", "Tensors", "Formats", "Attention", "Models", "Analysis", "Methods", "Sessions",
      "Backends", "Canvas", "Pictures", "Lessons", "Interface",
    ]
  ),
  (
    "BackendTests",
    [
      "Support", "Tensors", "Formats", "Attention", "Models", "Analysis", "Methods", "Sessions",
      "Wire", "Backends",
    ]
  ),
  (
    "CommandTests",
    [
      "Support", "Tensors", "Attention", "Formats", "Methods", "Sessions", "Wire", "Backends",
      "Canvas",
      "Lessons", "Interface", "attnscope",
    ]
  ),
  // The numeric suite and the budgets of the design, also run in release.
  (
    "NumericTests",
    [
      "Support", "Tensors", "Formats", "Attention", "Models", "Methods", "Analysis", "Sessions",
      "Backends", "Canvas", "Interface",
    ]
  ),
]

func testTarget(_ test: (name: String, needs: [String])) -> Target {
  .testTarget(
    name: test.name, dependencies: test.needs.map { .byName(name: $0) }, path: "Tests/\(test.name)",
    exclude: [
      "InterfaceTests": ["Snapshots"], "FormatsTests": ["Fixtures"], "CommandTests": ["Fixtures"],
      "ModelsTests": ["Fixtures"], "MethodsTests": ["Golden"],
    ][test.name] ?? [],
    swiftSettings: swift)
}

let package = Package(
  name: "attnscope",
  products: [.executable(name: "attnscope", targets: ["attnscope"])],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-numerics", from: "1.1.1"),
  ],
  targets: rooms.map(target) + [
    .target(
      name: "Support", dependencies: ["Tensors", "Attention"], path: "Tests/Support",
      swiftSettings: swift)
  ] + tests.map(testTarget)
)
