// Cases → iCalendar, as ical.js writes it. Reads JSON, and answers with the texts in the same order:
//   node by_icaljs.mjs INSTALLED <CASES >TEXTS

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { default: ICAL } = await import(pathToFileURL(`${process.argv[2]}/node_modules/ical.js/dist/ical.js`));

function time(text) {
  const [local, zone] = text.split(/ (.*)/);
  if (!local.includes("T")) return ICAL.Time.fromDateString(local);
  const full = local.length === 16 ? `${local}:00` : local;
  const made = ICAL.Time.fromDateTimeString(zone === "UTC" ? `${full}Z` : full);
  if (zone && zone !== "UTC") made.zone = new ICAL.Timezone({ tzid: zone });
  return made;
}

function period([start, end]) {
  const made = { start: time(start) };
  if (end.startsWith("P")) made.duration = ICAL.Duration.fromString(end);
  else made.end = time(end);
  return new ICAL.Period(made);
}

// A property of one or several times of one kind.
function times(component, name, values) {
  const property = new ICAL.Property(name);
  const zone = (values[0].start ?? values[0]).zone;
  if (values[0].start) property.resetType("period");
  else property.resetType(values[0].isDate ? "date" : "date-time");
  property.setValues(values);
  if (zone && zone !== ICAL.Timezone.utcTimezone && zone !== ICAL.Timezone.localTimezone)
    property.setParameter("tzid", zone.tzid);
  component.addProperty(property);
}

// Several on a line where they are of one kind.
function grouped(component, name, texts) {
  const kinds = new Map();
  for (const text of texts) {
    const value = Array.isArray(text) ? period(text) : time(text);
    const kind = [Array.isArray(text), value.isDate, (value.start ?? value).zone?.tzid].join();
    kinds.set(kind, [...(kinds.get(kind) ?? []), value]);
  }
  for (const values of kinds.values()) times(component, name, values);
}

function vevent(event) {
  const component = new ICAL.Component("vevent");
  const made = new ICAL.Event(component);
  made.uid = event.uid;
  component.updatePropertyWithValue("dtstamp", time("2026-08-01T00:00 UTC"));
  made.summary = event.title;
  made.startDate = time(event.start);
  if (event.end) made.endDate = time(event.end);
  if (event.duration) made.duration = ICAL.Duration.fromString(event.duration);
  if (event.rule) component.addPropertyWithValue("rrule", ICAL.Recur.fromString(event.rule));
  grouped(component, "rdate", event.rdate ?? []);
  grouped(component, "exdate", event.exdate ?? []);
  if (event.of) made.recurrenceId = time(event.of);
  if (event.following) component.getFirstProperty("recurrence-id").setParameter("range", "THISANDFUTURE");
  if (event.status) component.addPropertyWithValue("status", event.status);
  if (event.transparent) component.addPropertyWithValue("transp", "TRANSPARENT");
  if (event.sequence !== undefined) made.sequence = event.sequence;
  return component;
}

function vtimezone(name, observances) {
  const made = new ICAL.Component("vtimezone");
  made.addPropertyWithValue("tzid", name);
  for (const one of observances) {
    const part = new ICAL.Component(one.daylight ? "daylight" : "standard");
    part.addPropertyWithValue("tzoffsetfrom", ICAL.UtcOffset.fromString(one.from.replace(/(\d\d)(\d\d)/, "$1:$2")));
    part.addPropertyWithValue("tzoffsetto", ICAL.UtcOffset.fromString(one.to.replace(/(\d\d)(\d\d)/, "$1:$2")));
    part.addPropertyWithValue("dtstart", time(one.start));
    if (one.rule) part.addPropertyWithValue("rrule", ICAL.Recur.fromString(one.rule));
    made.addSubcomponent(part);
  }
  return made;
}

const { cases, definitions } = JSON.parse(readFileSync(0, "utf8"));
const texts = cases.map((one) => {
  const calendar = new ICAL.Component("vcalendar");
  calendar.addPropertyWithValue("prodid", "-//timetables//ical.js//");
  calendar.addPropertyWithValue("version", "2.0");
  const zones = { ...one.zones };
  if (one.define)
    for (const event of one.events)
      for (const text of [event.start, event.end, event.of]) {
        const zone = text?.split(/ (.*)/)[1];
        if (zone in definitions) zones[zone] = definitions[zone];
      }
  for (const [name, observances] of Object.entries(zones)) calendar.addSubcomponent(vtimezone(name, observances));
  for (const event of one.events) calendar.addSubcomponent(vevent(event));
  return calendar.toString();
});
process.stdout.write(JSON.stringify(texts));
