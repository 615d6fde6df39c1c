extension NamePattern {
    /// A set of letters: of ASCII, or all but some of ASCII.
    struct Letters: Sendable, Equatable {
        private var low: UInt64 = 0
        private var high: UInt64 = 0
        /// Whether the set is all others, those beyond ASCII among them.
        var isExcluded = false

        init(isExcluded: Bool = false) { self.isExcluded = isExcluded }

        init(_ letters: some Sequence<UInt8>) {
            for letter in letters { insert(letter) }
        }

        /// Adds a letter of ASCII.
        mutating func insert(_ letter: UInt8) {
            let bit = UInt64(1) << UInt64(letter & 63)
            if letter < 64 { low |= bit } else { high |= bit }
        }

        func contains(_ letter: UInt8) -> Bool {
            guard letter < 128 else { return isExcluded }
            let bit = UInt64(1) << UInt64(letter & 63)
            return ((letter < 64 ? low : high) & bit != 0) != isExcluded
        }
    }

    /// An expression as steps, each followed by the next unless it says otherwise.
    struct Program: Sendable, Equatable {
        enum Step: Sendable, Equatable {
            case letters(Letters)
            case start, end
            case fork(Int, Int)
            case jump(Int)
            case found
        }

        private var steps: [Step] = []

        init(_ expression: Expression) {
            add(expression)
            steps.append(.found)
        }

        private mutating func add(_ expression: Expression) {
            let first = steps.count
            switch expression {
            case .letters(let letters): steps.append(.letters(letters))
            case .start: steps.append(.start)
            case .end: steps.append(.end)
            case .sequence(let parts): for part in parts { add(part) }
            case .choice(let ways): add(ways: ways)
            case .optional(let part):
                steps.append(.found)
                add(part)
                steps[first] = .fork(first + 1, steps.count)
            case .repeated(let part, atLeastOnce: true):
                add(part)
                steps.append(.fork(first, steps.count + 1))
            case .repeated(let part, atLeastOnce: false):
                steps.append(.found)
                add(part)
                steps.append(.jump(first))
                steps[first] = .fork(first + 1, steps.count)
            }
        }

        private mutating func add(ways: [Expression]) {
            var ends: [Int] = []
            for (number, way) in ways.enumerated() {
                guard number < ways.count - 1 else {
                    add(way)
                    break
                }
                let fork = steps.count
                steps.append(.found)
                add(way)
                ends.append(steps.count)
                steps.append(.found)
                steps[fork] = .fork(fork + 1, steps.count)
            }
            for end in ends { steps[end] = .jump(steps.count) }
        }

        /// Whether a text begins with what this describes.
        func matches(_ text: [UInt8]) -> Bool {
            var search = Search(stepCount: steps.count)
            if search.follow(0, of: steps, at: 0, end: text.count) { return true }
            for (place, letter) in text.enumerated() {
                search.turn()
                guard !search.waiting.isEmpty else { return false }
                for number in search.waiting {
                    guard case .letters(let letters) = steps[number], letters.contains(letter)
                    else { continue }
                    if search.follow(number + 1, of: steps, at: place + 1, end: text.count) {
                        return true
                    }
                }
            }
            return false
        }
    }

    /// The steps that wait for the next letter.
    private struct Search {
        /// Those that wait for the present letter.
        private(set) var waiting: [Int] = []
        /// Those that will wait for the letter after it.
        private var reached: [Int] = []
        private var open: [Int] = []
        /// The place at which each step was reached last, so that none is followed twice there.
        private var places: [Int]

        init(stepCount: Int) { places = [Int](repeating: -1, count: stepCount) }

        /// Goes on to the next letter.
        mutating func turn() {
            swap(&waiting, &reached)
            reached.removeAll(keepingCapacity: true)
        }

        /// Follows a step to those that wait for letters; true if the end of the steps is found.
        mutating func follow(
            _ first: Int, of steps: [Program.Step], at place: Int, end: Int
        ) -> Bool {
            open.append(first)
            while let number = open.popLast() {
                guard places[number] != place else { continue }
                places[number] = place
                switch steps[number] {
                case .found: return true
                case .letters: reached.append(number)
                case .start: if place == 0 { open.append(number + 1) }
                case .end: if place == end { open.append(number + 1) }
                case .jump(let next): open.append(next)
                case .fork(let one, let other):
                    open.append(one)
                    open.append(other)
                }
            }
            return false
        }
    }
}
