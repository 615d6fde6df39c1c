/// Where a text stands in an array no two items of which may be equal, and which it has so far.
///
/// The grammar writes every value of such an array in one way, and no arrays or objects in it, so
/// items are equal exactly if their bytes are.
///
/// 1. A byte that would end an item equal to an earlier one, or lead on beyond the limits of
///    `SeenItems`, leaves the ways of the grammar that are inside such an array; others go on.
struct UniqueItems {
    /// Where in the array, as its bytes alone say.
    struct Place {
        enum Phase { case before, string, escape, bare, after }

        var phase = Phase.before
        /// Where the item so far leads among those seen.
        var node = SeenItems.root
    }

    /// What a byte did.
    struct Event {
        /// It ended an item.
        var ends = false
        /// The item was there before.
        var isRepeated = false
        /// It is the comma after an item.
        var follows = false
        /// It began an array.
        var begins = false
    }

    private(set) var seen = SeenItems()
    private(set) var place = Place()
    /// Bytes of the item so far, as far as they could be kept.
    private(set) var item: [UInt8] = []

    /// What a step of a text led to.
    struct Step {
        var state: GrammarAutomaton.ID
        /// Nil outside of such arrays.
        var place: Place?
        var event = Event()
        /// Whether ways inside an array were left.
        var isCut = false
    }

    /// Moves past a byte; nil if no text goes on so.
    static func step(
        _ state: GrammarAutomaton.ID, _ place: Place?, _ byte: UInt8, _ seen: SeenItems,
        in automaton: GrammarAutomaton, _ walk: inout GrammarAutomaton.Walk
    ) -> Step? {
        var step = Step(state: state, place: place)
        if var moved = place {
            step.event = moved.move(byte, seen)
            step.place = moved
            if step.event.isRepeated || step.event.follows && seen.isFull {
                guard let outside = automaton.outsideUniqueArrays(state, &walk) else { return nil }
                step.state = outside
                step.place = nil
                step.isCut = true
            }
        }
        guard let next = automaton.next(step.state, byte: byte, &walk) else { return nil }
        step.state = next
        if !automaton.isInUniqueArray(next) {
            step.place = nil
        } else if step.place == nil {
            step.place = Place()
            step.event.begins = true
        }
        return step
    }

    /// Moves a text past a byte.
    ///
    /// - Returns: The next state; nil if no text goes on so.
    static func advance(
        _ items: inout UniqueItems?, _ state: GrammarAutomaton.ID, _ byte: UInt8,
        in automaton: GrammarAutomaton, _ walk: inout GrammarAutomaton.Walk
    ) -> GrammarAutomaton.ID? {
        let seen = items?.seen ?? SeenItems()
        guard let step = step(state, items?.place, byte, seen, in: automaton, &walk) else {
            return nil
        }
        guard let place = step.place else {
            items = nil
            return step.state
        }
        if step.event.begins { items = UniqueItems() }
        items?.take(byte, step.event, place)
        return step.state
    }

    private mutating func take(_ byte: UInt8, _ event: Event, _ place: Place) {
        self.place = place
        if event.ends {
            seen.insert(item)
            item = []
            return
        }
        switch place.phase {
        case .string, .escape, .bare:
            if item.count <= SeenItems.byteLimit { item.append(byte) }
        case .before, .after: break
        }
    }
}

extension UniqueItems.Place {
    /// Moves past a byte of the array.
    fileprivate mutating func move(_ byte: UInt8, _ seen: SeenItems) -> UniqueItems.Event {
        var event = UniqueItems.Event()
        let quote = UInt8(ascii: "\"")
        switch (phase, byte) {
        case (.before, UInt8(ascii: " ")): break
        case (.before, UInt8(ascii: "[")):
            // Of a way that was no array of single values.
            self = UniqueItems.Place()
            event.begins = true
        case (.before, UInt8(ascii: "]")): leave(.after)
        case (.before, _):
            phase = byte == quote ? .string : .bare
            node = seen.next(node, byte)
        case (.string, quote):
            event.ends = true
            event.isRepeated = seen.hasItem(at: node)
            leave(.after)
        case (.string, UInt8(ascii: "\\")):
            phase = .escape
            node = seen.next(node, byte)
        case (.string, _), (.escape, _):
            phase = .string
            node = seen.next(node, byte)
        case (.bare, UInt8(ascii: ",")), (.bare, UInt8(ascii: "]")):
            event.ends = true
            event.isRepeated = seen.hasItem(at: node)
            leave(.after)
            if byte == UInt8(ascii: ",") { follow(&event) }
        case (.bare, _): node = seen.next(node, byte)
        case (.after, UInt8(ascii: ",")): follow(&event)
        case (.after, _): break
        }
        return event
    }

    private mutating func leave(_ phase: Phase) {
        self.phase = phase
        node = SeenItems.nowhere
    }

    private mutating func follow(_ event: inout UniqueItems.Event) {
        phase = .before
        node = SeenItems.root
        event.follows = true
    }
}
