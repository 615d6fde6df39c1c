import Foundation
import Testing

/// What a newcomer finds by its name, and what rooms show each other.
@Suite struct NameTests {
    @Test(arguments: HouseFiles.swift)
    func `a file is named after a type in it, or Type+Aspect`(file: URL) throws {
        let stem = file.deletingPathExtension().lastPathComponent
        let type = stem.prefix { $0 != "+" }
        let text = try String(contentsOf: file, encoding: .utf8)
        // Functions over a type need not extend it; harnesses are called by the fuzzer alone.
        guard stem == type || !text.contains(type),
            !HouseFiles.name(of: file).hasPrefix("Tests/Fuzz/")
        else { return }
        let declared = text.matches(
            of: /\b(?:struct|class|enum|protocol|actor|typealias|extension)\s+`?([\w.]+)/
        ).map { $0.1.split(separator: ".").last ?? "" }
        // A family is named after its paper, as `DualPipe.swift`, where a function writes it.
        let isFamily = text.contains(/\bextension Schedule\b/)
        #expect(
            isFamily || declared.contains(type),
            "\(HouseFiles.name(of: file)) declares and extends no \(type)")
    }

    /// Words that only this house understood; docs/explanation/style.md names the field's.
    @Test(arguments: HouseFiles.code + HouseFiles.pages)
    func `the field's words are used`(file: URL) throws {
        // These two name the words in order to ban them.
        guard !file.path().hasSuffix("/style.md"), !file.path().hasSuffix("/NameTests.swift")
        else { return }
        for (index, line) in try HouseFiles.lines(of: file).enumerated() {
            if let word = Self.bannedWord(in: line) {
                Issue.record(
                    "\(HouseFiles.name(of: file)):\(index + 1): \(word) is banned by style.md")
            }
        }
    }

    @Test(arguments: [
        ("the shelf of blocks", "shelf"), ("let farewellLimit = 5", "farewell"),
        ("struct OpenDesks {", "desks"), ("LAST_PULSE = 3", "pulse"),
        ("the desktop is knocking-free", "knocking"), ("let lookInterval = 5", "look interval"),
        ("rows that came home", "came home"), ("a blend of calendars, indoors", nil),
    ])
    func `a banned word is found inside a name, and not inside a longer word`(
        line: String, word: String?
    ) {
        #expect(Self.bannedWord(in: line[...]) == word)
    }

    /// The first word of a line that style.md bans; names are read as the words that they join.
    private static func bannedWord(in line: Substring) -> String? {
        var (word, before) = ([UInt8](), "")
        var followsCapital = false
        for byte in line.utf8 {
            let isCapital = (UInt8(ascii: "A") ... UInt8(ascii: "Z")).contains(byte)
            // Capitals differ from small letters in one bit.
            let isLetter = (UInt8(ascii: "a") ... UInt8(ascii: "z")).contains(byte | 0x20)
            if !isLetter || (isCapital && !followsCapital), !word.isEmpty {
                let ended = String(decoding: word, as: UTF8.self)
                for found in [ended, before + " " + ended] where banned.contains(found) {
                    return found
                }
                (before, word) = (ended, [])
            }
            if isLetter { word.append(byte | 0x20) }
            followsCapital = isCapital
        }
        let last = String(decoding: word, as: UTF8.self)
        return [last, before + " " + last].first(where: banned.contains)
    }

    /// Words without a second meaning in this code; people watch over the table's others.
    private static let banned: Set = [
        "door", "doors", "desk", "desks", "shelf", "shelves", "seat", "seats", "seated", "stranger",
        "strangers", "knock", "knocks", "knocked", "knocking", "wish", "wishes", "wished", "lend",
        "lends", "lent", "lending", "blame", "blames", "blamed", "blaming", "farewell", "farewells",
        "pulse", "pulses", "turned away", "radix cache", "look at", "looks at", "looked at",
        "look for", "looks for", "looked for", "look interval", "come home", "comes home",
        "came home", "way home",
    ]

    @Test func `every public function and property is used outside its room`() throws {
        let uses = try Uses()
        for (room, name, place) in uses.published where !uses.isUsed(name, outside: room) {
            Issue.record("\(place): \(name) is public, and no other room uses it")
        }
    }

    @Test(arguments: HouseFiles.readmes)
    func `a README is one page`(file: URL) throws {
        let count = try HouseFiles.lines(of: file).count - 1
        let limit = HouseFiles.name(of: file) == "README.md" ? 120 : 80
        #expect(count <= limit, "\(HouseFiles.name(of: file)) has \(count) lines of \(limit)")
    }

    @Test func `no tracked folder holds a large file that no list names`() throws {
        // Weights and the files that hold expected values; all of them are data of their folders.
        let mayBeLarge = ["Tests/Golden/", "cluster/models/"]
        for file in HouseFiles.everything {
            let size = try file.resourceValues(forKeys: [.fileSizeKey]).fileSize ?? 0
            let name = HouseFiles.name(of: file)
            let limit = mayBeLarge.contains { name.hasPrefix($0) } ? 20 << 20 : 1 << 20
            #expect(size <= limit, "\(name) has \(size) bytes; the limit is \(limit)")
        }
    }
}

/// Which names the rooms publish, and which rooms write them.
private struct Uses {
    /// Functions and properties with `public`: the room, the name, and the place for messages.
    /// Types are not among them: who uses a value need not write its type.
    private(set) var published: [(room: String, name: String, place: String)] = []
    private var rooms: [String: Set<String>] = [:]
    /// Values of arguments that a caller in another room may leave out.
    private var defaults: Set<String> = []

    init() throws {
        let declaration =
            /public (?:[a-z]+(?:\([a-z]+\))? )*?(?:func|var|let) `?(\w+)/
        for file in HouseFiles.product {
            let room = file.pathComponents.drop { $0 != "Sources" }.dropFirst().first!
            for (index, line) in try HouseFiles.lines(of: file).enumerated() {
                let code = line.firstRange(of: "//").map { line[..<$0.lowerBound] } ?? line
                for word in code.split(whereSeparator: { !$0.isLetter && !$0.isNumber && $0 != "_" }
                ) { rooms[String(word), default: []].insert(room) }
                if let value = code.firstMatch(of: /: [\w.<>?]+ = (?:Self|[A-Z]\w*)\.(\w+)/) {
                    defaults.insert(String(value.1))
                }
                guard code.contains("public "), let match = code.firstMatch(of: declaration),
                    !room.hasPrefix("apus")
                else { continue }
                published.append(
                    (room, String(match.1), "\(HouseFiles.name(of: file)):\(index + 1)"))
            }
        }
    }

    func isUsed(_ name: String, outside room: String) -> Bool {
        // What protocols of the standard library ask for is called by the library.
        let asked = [
            "description", "hash", "encode", "errorDescription", "next", "rawValue", "logLevel",
        ]
        return asked.contains(name) || defaults.contains(name)
            || rooms[name]?.contains { $0 != room } == true
    }
}
