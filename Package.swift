// swift-tools-version: 6.2
import PackageDescription

// The manifest is the map. Targets are listed from the ground up, and each may import only what
// its line names: everything a room can see is written here. SwiftPM enforces the lines with
// `--explicit-target-dependency-import-check error`, which `make build` passes.

let package = Package(
    name: "apus",
    products: [
        .executable(name: "apus", targets: ["apus"]),
        .executable(name: "apus-coordinator", targets: ["apus-coordinator"]),
        .executable(name: "apus-worker", targets: ["apus-worker"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(
            url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // C, hidden behind one Swift room each.
        .target(
            name: "CFabric", exclude: ["README.md"], cSettings: plainC(),
            linkerSettings: ["ucp", "ucs", "ibverbs", "rdmacm"].map { .linkedLibrary($0) }),
        .target(
            name: "CKernels", exclude: ["README.md"],
            cSettings: plainC() + [.headerSearchPath(".")]),

        // Ground: where things are, what bytes mean, how bytes move.
        room("Topology", [yams]),
        room("Tensors", ["CKernels"]),
        room("Transport", ["CFabric", "Topology"]),

        // Middle: many ranks acting as one; the network; the order of its work.
        room("Collectives", ["Transport", "Tensors", "Topology"]),
        room("DeepSeekV3", ["Collectives", "Tensors"]),
        room("Pipeline", ["Collectives", "Transport", "Tensors", "Topology"]),

        // Top: what people ask for.
        room(
            "Training",
            [
                "DeepSeekV3", "Pipeline", "Collectives", "Transport", "Tensors", "Topology", yams,
            ]),
        room(
            "Serving",
            [
                "DeepSeekV3", "Pipeline", "Collectives", "Transport", "Tensors", "Topology",
                hummingbird, hummingbirdCore, nio, nioPosix, nioHTTP1, httpTypes, lifecycle,
                signals,
                log,
            ]),
        room("Cluster", ["Topology", log, yams, nio, nioPosix, nioExtras, crypto]),

        // Programs: parse, wire, run.
        program("apus-coordinator", ["Cluster", "Serving", log, arguments, lifecycle]),
        program(
            "apus-worker",
            [
                "Cluster", "Training", "Serving", "DeepSeekV3", "Collectives", "Transport",
                "Tensors", "Topology", log, arguments,
            ]),
        program(
            "apus",
            [
                "Cluster", "Serving", "Training", "Pipeline", "DeepSeekV3", "Collectives",
                "Transport", "Tensors", "Topology", log, arguments,
            ],
            resources: [.embedInCode("Comparison/all_to_all.c")]),

        // Tests mirror the rooms.
        tests("Topology"),
        tests("Tensors", ["CKernels", "TileModel"]),
        .target(
            name: "TileModel", path: "Tests/TileModel",
            cSettings: plainC() + [
                .headerSearchPath("../../Sources/CKernels"),
                .headerSearchPath("../../Sources/CKernels/include"),
            ]),
        .target(
            name: "TransportTesting", dependencies: ["Transport"], path: "Tests/TransportTesting",
            swiftSettings: strict()),
        tests("Transport", ["TransportTesting", "Topology"]),
        tests("Collectives", ["TransportTesting", "Transport", "Tensors", "Topology"]),
        tests("DeepSeekV3", ["Collectives", "Transport", "Tensors", "Topology"]),
        tests("Pipeline", ["Collectives", "Transport", "Tensors", "Topology"]),
        tests(
            "Training",
            ["DeepSeekV3", "Pipeline", "Collectives", "Transport", "Tensors", "Topology"]),
        tests(
            "Serving",
            [
                "DeepSeekV3", "Collectives", "Transport", "Tensors", "Topology", nio, nioPosix,
                nioHTTP1, lifecycle, log,
            ]),
        tests("Cluster", ["Topology", log, nio, nioEmbedded]),
        .testTarget(name: "EndToEnd", exclude: ["Clients"], swiftSettings: strict()),
        .testTarget(name: "TidyTests", dependencies: [yams], swiftSettings: strict()),
        .testTarget(name: "DocumentTests", swiftSettings: strict()),
    ],
    cLanguageStandard: .c17
)

// Libraries from outside, named once.
var arguments: Target.Dependency { library("ArgumentParser", of: "swift-argument-parser") }
var crypto: Target.Dependency { library("Crypto", of: "swift-crypto") }
var log: Target.Dependency { library("Logging", of: "swift-log") }
var nio: Target.Dependency { library("NIOCore", of: "swift-nio") }
var nioPosix: Target.Dependency { library("NIOPosix", of: "swift-nio") }
var nioEmbedded: Target.Dependency { library("NIOEmbedded", of: "swift-nio") }
var nioExtras: Target.Dependency { library("NIOExtras", of: "swift-nio-extras") }
var hummingbird: Target.Dependency { library("Hummingbird", of: "hummingbird") }
var hummingbirdCore: Target.Dependency { library("HummingbirdCore", of: "hummingbird") }
var httpTypes: Target.Dependency { library("HTTPTypes", of: "swift-http-types") }
var nioHTTP1: Target.Dependency { library("NIOHTTP1", of: "swift-nio") }
var lifecycle: Target.Dependency { library("ServiceLifecycle", of: "swift-service-lifecycle") }
var signals: Target.Dependency { library("UnixSignals", of: "swift-service-lifecycle") }
var yams: Target.Dependency { library("Yams", of: "Yams") }

func library(_ name: String, of package: String) -> Target.Dependency {
    .product(name: name, package: package)
}

/// Every Swift target is held to the same bar.
func strict() -> [SwiftSetting] {
    [
        .treatAllWarnings(as: .error),
        .strictMemorySafety(),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableExperimentalFeature("Lifetimes"),
    ]
}

/// C is compiled without contraction, so that a formula gives the same bits in every file.
func plainC() -> [CSetting] {
    [.treatAllWarnings(as: .error), .unsafeFlags(["-O3", "-Wall", "-ffp-contract=off"])]
}

/// A library target, whose README says in one page what it owns and why.
func room(_ name: String, _ imports: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: imports, exclude: ["README.md"], swiftSettings: strict())
}

func program(
    _ name: String, _ imports: [Target.Dependency], resources: [Resource]? = nil
) -> Target {
    .executableTarget(
        name: name, dependencies: imports, resources: resources, swiftSettings: strict())
}

func tests(_ room: String, _ imports: [Target.Dependency] = []) -> Target {
    .testTarget(
        name: room + "Tests", dependencies: [.byName(name: room)] + imports,
        swiftSettings: strict())
}
