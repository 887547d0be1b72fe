# Ceilings that size memory or travel on the link (floor 0). Choices of the operator are settings
# and live in control/config.py; what stands here is the same in every installation.

cdef extern from *:
    """
    #include "debug.h"
    enum {
        SCRATCH_SIZE       = 256 * 1024,       /* one shared read buffer per worker */
        CHANNEL_NAME_MAX   = 4096,             /* as long as the longest URI, GRIP.md 8.7 */
        LINK_VERSION       = 1,
        LINK_HEADER_SIZE   = 16,
        LINK_PAYLOAD_MAX   = 4 * 1024 * 1024,  /* a publish body (1 MB) in three formats fits */
        LINK_WINDOW        = 256 * 1024,       /* body bytes either side may send unasked */
        LINK_GRANT_AT      = LINK_WINDOW / 4,  /* what may be owed before it must be granted */
        HEADER_COUNT_MAX   = 64,               /* of one head, GRIP.md 8.7 */
        PIPELINE_MAX       = 16,               /* heads that wait behind the one being answered */
        QUEUE_MAX          = 100,              /* frames that wait for a blocked client, 8.7 */
        FLUSH_IOV_MAX      = 64                /* frames in one writev; IOV_MAX is 1024 */
    };
    _Static_assert(CHANNEL_NAME_MAX <= 0xFFFF, "channel length is a u16 on the link");
    _Static_assert(SCRATCH_SIZE < LINK_PAYLOAD_MAX, "one read fits one RECEIVED packet");
    _Static_assert(LINK_WINDOW <= LINK_PAYLOAD_MAX, "a full window fits one packet");
    """
    const int FASTPATH_DEBUG
    enum:
        SCRATCH_SIZE
        CHANNEL_NAME_MAX
        LINK_VERSION
        LINK_HEADER_SIZE
        LINK_PAYLOAD_MAX
        LINK_WINDOW
        LINK_GRANT_AT
        HEADER_COUNT_MAX
        PIPELINE_MAX
        QUEUE_MAX
        FLUSH_IOV_MAX
