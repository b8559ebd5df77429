//! Packets of the framings `b3-umdf`, `eurex-eobi`, `iex-tp`, `memx-udp` and `miax-mach`: those that number packets, and those whose
//! blocks stand one behind the other as MoldUDP64's do. There is none of Euronext and MOEX. Numbers and sizes were worked out apart
//! from Twinline, by the header's rules. One file named after MEMX is Nasdaq's: `by_message` has it.

use super::Row;

pub(super) const ROWS: &[Row] = &[
    ("B3/BinaryUmdf.v1.5/PriceBand.pcap", "b3-umdf", &["data 4609 x1 key 50 session 1333: 60"]),
    ("B3/BinaryUmdf.v1.5/SecurityGroupPhase.pcap", "b3-umdf", &["data 3999 x1 key 50 session 1333: 44"]),
    ("B3/BinaryUmdf.v1.5/SecurityStatus.pcap", "b3-umdf", &["data 4591 x1 key 50 session 1333: 48"]),
    ("B3/BinaryUmdf.v1.5/Sequence.pcap", "b3-umdf", &["unsequenced x1 key 50 session 1333 heartbeat: 16"]),
    ("B3/BinaryUmdf.v1.5/SequenceReset.pcap", "b3-umdf", &["unsequenced x1 key 50 session 1333: 12"]),
    ("Eurex/Eobi.T7.v6.0/ExecutionSummary.pcap", "eurex-eobi", &["data 384661 x1 key 3: 112"]),
    ("Eurex/Eobi.T7.v6.0/FullOrderExecution.pcap", "eurex-eobi", &["data 325524 x1 key 4: 104"]),
    ("Eurex/Eobi.T7.v6.0/Heartbeat.pcap", "eurex-eobi", &["data 528688 x1 key 6 heartbeat: 16"]),
    ("Eurex/Eobi.T7.v6.0/InstrumentSummary.pcap", "eurex-eobi", &["data 532356 x1 key 6: 280"]),
    ("Eurex/Eobi.T7.v6.0/OrderAdd.pcap", "eurex-eobi", &["data 477216 x1 key 1: 48"]),
    ("Eurex/Eobi.T7.v6.0/OrderModify.pcap", "eurex-eobi", &["data 470411 x1 key 2: 72"]),
    ("Eurex/Eobi.T7.v6.0/PartialOrderExecution.pcap", "eurex-eobi", &["data 471655 x1 key 2: 112"]),
    ("Eurex/Eobi.T7.v6.0/ProductSummary.pcap", "eurex-eobi", &["data 532352 x1 key 6: 1144"]),
    ("Eurex/Eobi.T7.v6.0/SnapshotOrder.pcap", "eurex-eobi", &["data 260265 x1 key 1: 96"]),
    ("Iex/Tops.IexTp.v1.5/AuctionInformationMessage.pcap", "iex-tp", &["data 34362 x1 key 1 session 1150681088: 80"]),
    ("Iex/Tops.IexTp.v1.5/OfficialPriceMessage.pcap", "iex-tp", &["data 45626 x1 key 1 session 1150681088: 26"]),
    (
        "Iex/Tops.IexTp.v1.5/OperationalHaltStatusMessage.pcap",
        "iex-tp",
        &["data 34266 x4 key 1 session 1150681088: 18 22 42 10"],
    ),
    ("Iex/Tops.IexTp.v1.5/QuoteUpdateMessage.pcap", "iex-tp", &["data 49821 x1 key 1 session 1150681088: 42"]),
    (
        "Iex/Tops.IexTp.v1.5/SecurityDirectoryMessage.pcap",
        "iex-tp",
        &[
            "data 34110 x52 key 1 session 1150681088: 31 19 18 22 42 19 18 22 42 19 18 22 42 19 18 22 42 19 18 22 42 31 19 18 22 42 19 18 22 42 19 18 22 42 19 18 22 42 19 18 22 42 19 18 22 42 19 18 22 42 19 18",
        ],
    ),
    (
        "Iex/Tops.IexTp.v1.5/ShortSalePriceTestStatusMessage.pcap",
        "iex-tp",
        &["data 34270 x1 key 1 session 1150681088: 19"],
    ),
    ("Iex/Tops.IexTp.v1.5/SystemEventMessage.pcap", "iex-tp", &["data 35579 x1 key 1 session 1150681088: 10"]),
    ("Iex/Tops.IexTp.v1.5/TradeReportMessage.pcap", "iex-tp", &["data 34347 x1 key 1 session 1150681088: 38"]),
    ("Iex/Tops.IexTp.v1.5/TradingStatusMessage.pcap", "iex-tp", &["data 55295 x1 key 1 session 1150681088: 22"]),
    (
        "Memx/Equities.MemiorDepth.v1.3/Heartbeat.pcap",
        "memx-udp",
        &["heartbeat 1435793 x0 session 6148333994739271368"],
    ),
    (
        "Memx/Equities.MemiorDepth.v1.3/MultipleMessages.pcap",
        "memx-udp",
        &[
            "data 5421722 x53 session 6148333994739271368: 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24 24",
        ],
    ),
    (
        "Memx/Equities.MemiorDepth.v1.3/OrderAddedMessage.pcap",
        "memx-udp",
        &["data 1371819 x1 session 6148333994739271368: 37"],
    ),
    (
        "Memx/Equities.MemiorDepth.v1.3/OrderDeletedMessage.pcap",
        "memx-udp",
        &["data 1371890 x1 session 6148333994739271368: 24"],
    ),
    (
        "Memx/Equities.MemiorDepth.v1.3/OrderExecutedMessage.pcap",
        "memx-udp",
        &["data 5422312 x1 session 6148333994739271368: 44"],
    ),
    (
        "Memx/Equities.MemiorDepth.v1.3/OrderReducedMessage.pcap",
        "memx-udp",
        &["data 9495744 x1 session 6148333994739271368: 28"],
    ),
    (
        "Memx/Equities.MemiorDepth.v1.3/RegShowRestrictionMessage.pcap",
        "memx-udp",
        &["data 2594820 x1 session 6148333994739271368: 17"],
    ),
    (
        "Memx/Equities.MemiorDepth.v1.3/SecurityTradingStatusMessage.pcap",
        "memx-udp",
        &["data 5420663 x1 session 6148333994739271368: 18"],
    ),
    (
        "Memx/Equities.MemiorDepth.v1.3/TradingSessionStatusMessage.pcap",
        "memx-udp",
        &["data 1371818 x1 session 6148333994739271368: 15"],
    ),
    ("Miax/MiaxOptions.cToM.v1.1/Heartbeat.pcap", "miax-mach", &["heartbeat 1272 x0 session 1"]),
    ("Miax/MiaxOptions.cToM.v1.1/SystemStatusMessage.pcap", "miax-mach", &["data 1238 x1 session 1: 18"]),
];
