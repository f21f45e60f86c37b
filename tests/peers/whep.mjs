// WHEP in front of Janus. Endpoint `stream` answers the caller's offer (201); `room` refuses it and
// sends an offer of its own (406), since that is the only way into a room.
//
//   node whep.mjs NODE_MODULES PORT JANUS ROOM MOUNTPOINT
const [modules, port, janus, room, mountpoint] = process.argv.slice(2);
const load = (path) => import(`${modules}/${path}`);
const { JanusWhepServer } = await load("janus-whep-server/src/whep.js");
const { default: VideoRoom } = await load("janode/src/plugins/videoroom-plugin.js");
const { default: express } = await load("express/index.js");

const app = express();
let server;
// Whoever publishes in the room now; the server wants to know it in advance.
app.post("/whep/endpoint/room", async (_request, _answer, next) => {
    const handle = await server.janus.attach(VideoRoom);
    const { participants } = await handle.listParticipants({ room: Number(room) });
    await handle.detach();
    server.getEndpoint({ id: "room" }).feed = participants.find((one) => one.publisher)?.feed;
    next();
});
server = new JanusWhepServer({ janus: { address: janus }, rest: { app, basePath: "/whep" } });
await server.start();
server.createEndpoint({ id: "stream", mountpoint: Number(mountpoint), token: "let-me-see" });
server.createEndpoint({ id: "room", plugin: "videoroom", room: Number(room), feed: 1, token: "let-me-see" });
app.listen(Number(port), "127.0.0.1");
